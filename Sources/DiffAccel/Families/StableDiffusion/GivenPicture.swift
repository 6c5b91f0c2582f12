import DiffModels
import DiffSampling
import DiffTensor

/// The picture that a request begins with, and the mask that says where it is painted over.
///
/// Draws are made in the order of diffusers' pipelines: the variance of the picture's latents, the start noise, the variance of those of the
/// masked picture.
/// Sources: `StableDiffusionImg2ImgPipeline`, `StableDiffusionInpaintPipeline`.
final class GivenPicture: Sendable {
    /// What a run makes of it.
    struct Prepared {
        let start: SamplingStart
        /// [n, more, h, w], what a network trained to paint in is shown after the state's channels; nil: it is not.
        let channels: Tensor?
    }

    /// What a picture is given as.
    enum Source: Sendable {
        /// [1 or n, 3, H, W] in -1 … 1
        case pixels(Tensor, any ImageAutoencoder)
        /// [1 or n, C, h, w], scaled
        case latents(Tensor)
    }

    private let source: Source
    /// [1 or n, 1, H, W]; nil: the whole picture is changed.
    private let mask: Tensor?
    /// Whether the network is shown the mask and the masked picture.
    private let showsMask: Bool
    /// Whether the run begins with nothing but noise, as one that paints in with all its strength does.
    private let startsInNoise: Bool
    /// The first evaluation of a fresh run that is made.
    let firstCall: Int

    init(_ source: Source, mask: Tensor?, showsMask: Bool, startsInNoise: Bool, firstCall: Int) {
        (self.source, self.mask, self.showsMask) = (source, mask, showsMask)
        (self.startsInNoise, self.firstCall) = (startsInNoise, firstCall)
    }

    /// Sites of what encodes it.
    var layouts: [SiteLayout] {
        switch source {
        case .pixels(_, let autoencoder): [autoencoder.layout]
        case .latents: []
        }
    }

    /// Throws `notFinite` when tensors of the caller hold NaN or infinity.
    func requireFinite(_ run: Run) throws(DiffError) {
        switch source {
        case .pixels(let pixels, _): try run.requireFinite(pixels, "image")
        case .latents(let latents): try run.requireFinite(latents, "image_latents")
        }
        if let mask { try run.requireFinite(mask, "mask") }
    }

    /// What a run of states of `shape` [n, C, h, w] begins with; draws from `noise`.
    func prepared(_ shape: Shape, _ noise: inout NoiseSource, _ run: Run) throws(DiffError) -> Prepared {
        let small = try mask.map { (mask) throws(DiffError) in try run.nearest(mask, shape) }
        // A network that is shown the picture needs no latents of it, unless they are what the run begins with.
        let image = showsMask && startsInNoise ? nil : try latents(source, shape, &noise, run)
        _ = try noise.initial(shape, run)
        var channels: Tensor?
        if let mask, let small, case .pixels(let pixels, let autoencoder) = source {
            // Drawn in any case, as later draws come after it.
            let masked = try latents(.pixels(run.withoutMasked(pixels, mask), autoencoder), shape, &noise, run)
            if showsMask { channels = try Self.joined(small, masked, run) }
        }
        let region = showsMask ? nil : small.flatMap { mask in image.map { KeptRegion(image: $0, mask: mask) } }
        return Prepared(
            start: SamplingStart(image: startsInNoise ? nil : image, call: firstCall, region: region),
            channels: channels)
    }

    /// Scaled latents of `shape`, drawn from what the encoder says of the picture.
    private func latents(
        _ source: Source, _ shape: Shape, _ noise: inout NoiseSource, _ run: Run
    ) throws(DiffError) -> Tensor {
        switch source {
        case .latents(let latents): return try run.repeatedSamples(latents, shape[0])
        case .pixels(let pixels, let autoencoder):
            // One seed draws for the pictures there are, several for each sample.
            let pictures = noise.isPerSample ? shape[0] : pixels.shape[0]
            let draws = autoencoder.drawsLatents
            let drawn = draws ? try noise.draw(shape.replacingFirst(pictures), run) : nil
            let all = try run.workspace.take(shape.replacingFirst(pictures))
            // Of several ranks the first one encodes, for all.
            for row in Indices(below: run.isRoot ? pictures : 0) {
                let one = try autoencoder.latents(
                    pixels.rows(row % max(1, pixels.shape[0]), 1),
                    noise: drawn.map { (noise) throws(DiffError) in try noise.rows(row, 1) }, run)
                try run.requireFinite(one, "the latents of the picture (the autoencoder's encoder, or the picture)")
                try run.store(one, in: all, row: row)
                try run.checkCancel()
            }
            try run.spread(all)
            return try run.repeatedSamples(all, shape[0])
        }
    }

    /// [n, 1 + C, h, w]
    private static func joined(_ mask: Tensor, _ masked: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let (n, c, h, w) = (masked.shape[0], masked.shape[1], masked.shape[2], masked.shape[3])
        let all = try run.joinedTokens(
            mask.reshaped(Shape(n, 1, h &* w)), masked.reshaped(Shape(n, c, h &* w)))
        return try all.reshaped(Shape(n, c &+ 1, h, w))
    }
}

extension Run {
    /// `x` with `count` samples, the ones there are again and again.
    fileprivate func repeatedSamples(_ x: Tensor, _ count: Int) throws(DiffError) -> Tensor {
        guard x.shape[0] != count else { return x }
        let all = try workspace.take(x.shape.replacingFirst(count))
        for row in Indices(below: count) { try store(x.rows(row % max(1, x.shape[0]), 1), in: all, row: row) }
        return all
    }

    /// A mask [1 or n, 1, H, W] at the size of latents, [n, 1, h, w] of 0 and 1: the nearest pixel, as `interpolate` takes it.
    fileprivate func nearest(_ mask: Tensor, _ shape: Shape) throws(DiffError) -> Tensor {
        let (n, h, w) = (shape[0], shape[2], shape[3])
        let (rows, height, width) = (mask.shape[0], mask.shape[2], mask.shape[3])
        let out = try workspace.take(Shape(n, 1, h, w))
        guard !isDry, let from = unsafe mask.floats, let to = unsafe out.floats else { return out }
        for sample in Indices(below: n) {
            let plane = unsafe from + (sample % max(1, rows)) &* height &* width
            for y in Indices(below: h) {
                for x in Indices(below: w) {
                    let at = (y &* height / max(1, h)) &* width &+ x &* width / max(1, w)
                    unsafe to[(sample &* h &+ y) &* w &+ x] = plane[at] >= 0.5 ? 1 : 0
                }
            }
        }
        return out
    }

    /// `pixels` [m, C, H, W] that are 0, a middle grey, where the mask [1 or m, 1, H, W] says that they are painted over.
    fileprivate func withoutMasked(_ pixels: Tensor, _ mask: Tensor) throws(DiffError) -> Tensor {
        let count = max(pixels.shape[0], mask.shape[0])
        let all = try repeatedSamples(pixels, count)
        let out = try workspace.take(all.shape)
        let (channels, area) = (all.shape[1], all.shape[2] &* all.shape[3])
        guard !isDry, let from = unsafe all.floats, let m = unsafe mask.floats, let to = unsafe out.floats else {
            return out
        }
        for plane in Indices(below: count &* channels) {
            let row = (plane / max(1, channels)) % max(1, mask.shape[0])
            for i in Indices(below: area) {
                unsafe to[plane &* area &+ i] = m[row &* area &+ i] >= 0.5 ? 0 : from[plane &* area &+ i]
            }
        }
        return out
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor

/// What turns the state a sampler ends with into pixels.
enum ImageDecoder: Sendable {
    /// The state is an image already.
    case pixels
    case latents(Autoencoder)
    /// The state is in the code space of a multi-scale VQ-VAE.
    case codes(VQVAE)

    var name: String {
        switch self {
        case .pixels: "pixels"
        case .latents: AutoencoderFamily.name
        case .codes: VQVAEFamily.name
        }
    }

    /// The autoencoder of a model of latents; nil when there is none.
    static func autoencoder(_ opened: Opened) throws(DiffError) -> ImageDecoder? {
        guard let checkpoint = try opened.autoencoder() else { return nil }
        let config = try opened.entered(
            checkpoint.configuration, as: "vae/config.json", AutoencoderConfiguration.rules)
        let configuration = try AutoencoderConfiguration(config)
        return .latents(try Autoencoder(configuration, Weights(checkpoint.tensors, options: opened.loading)))
    }

    /// Pixels of `state` [n, C, h, w], nominally -1...1. `tile` is the side of decoder tiles in latents; nil: whole images.
    /// Latents are decoded one sample at a time, so memory does not grow with their number. Throws `notFinite` when a picture is not.
    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (Int) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        let (channels, factor): (Int, Int)
        switch self {
        case .pixels: return state
        case .latents(let autoencoder):
            (channels, factor) = (autoencoder.configuration.outChannels, autoencoder.configuration.factor)
        case .codes(let autoencoder): (channels, factor) = (3, autoencoder.configuration.factor)
        }
        let (height, width) = (state.shape[2] &* factor, state.shape[3] &* factor)
        let pixels = try run.workspace.take(Shape(state.shape[0], channels, height, width))
        for sample in Indices(below: state.shape[0]) {
            let decoded = try decodeOne(state.rows(sample, 1), tile, run)
            try run.requireFinite(
                decoded, "the decoder's picture \(sample &+ 1) of \(state.shape[0]) (the decoder's weights)")
            try run.store(decoded, in: pixels, row: sample)
            run.workspace.trim()
            try progress(sample + 1)
        }
        return pixels
    }

    private func decodeOne(_ state: Tensor, _ tile: Int?, _ run: Run) throws(DiffError) -> Tensor {
        switch self {
        case .pixels: return state
        case .codes(let autoencoder): return try autoencoder.decode(state, run)
        case .latents(let autoencoder):
            if let tile { return try autoencoder.decodeTiled(state, tile: tile, run) }
            return try autoencoder.decode(state, run)
        }
    }

    /// Whether memory for decoding can be bounded by tiles.
    var takesTiles: Bool {
        switch self {
        case .pixels, .codes: false
        case .latents: true
        }
    }

    /// `pixels` [n, C, H, W] in -1 ... 1 as 8-bit images [n, H, W, C], as the published code of the family rounds them.
    func images(_ pixels: Tensor, _ run: Run, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        let range: (scale: Float, offset: Float) = if case .codes = self { (1, 0) } else { (127.5, 127.5) }
        return try run.images(levels(pixels, run), range, budget: budget)
    }

    /// What is rounded to bytes: the pixels, or for VAR, whose code casts where others round, their whole levels.
    func levels(_ pixels: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        if case .codes = self { return try run.flooredLevels(pixels) }
        return pixels
    }
}

extension Run {
    /// scale · x + offset of `x` [n, C, H, W] as 8-bit images [n, H, W, C], rounded half to even.
    fileprivate func images(
        _ x: Tensor, _ range: (scale: Float, offset: Float), budget: MemoryBudget?
    ) throws(DiffError) -> ImageBatch {
        let storage = try Storage(byteCount: x.shape.count, budget: budget)
        try quantize(x, into: storage, scale: range.scale, offset: range.offset)
        return ImageBatch(
            count: x.shape[0], height: x.shape[2], width: x.shape[3], channels: x.shape[1], storage: storage)
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor

/// What turns the state a sampler ends with into pixels.
enum ImageDecoder: Sendable {
    /// The state is an image already.
    case pixels
    case latents(Autoencoder)

    var name: String {
        switch self {
        case .pixels: "pixels"
        case .latents: AutoencoderFamily.name
        }
    }

    /// The autoencoder that the options name, or the one in the checkpoint's `vae` folder; nil when there is neither.
    static func autoencoder(_ opened: Opened) throws(DiffError) -> ImageDecoder? {
        let checkpoint: Checkpoint
        if let path = opened.options.decoder {
            checkpoint = try Checkpoint.open(path: path, followingLinks: opened.options.followLinks)
        } else if try opened.checkpoint.hasSubdirectory("vae") {
            checkpoint = try opened.checkpoint.subdirectory("vae")
        } else {
            return nil
        }
        let configuration = try AutoencoderConfiguration(checkpoint.configuration)
        return .latents(try Autoencoder(configuration, Weights(checkpoint.tensors, options: opened.loading)))
    }

    /// Pixels of `state` [n, C, h, w], nominally -1...1. `tile` is the side of decoder tiles in latents; nil: whole images.
    /// Latents are decoded one sample at a time, so memory does not grow with their number.
    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (Int) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        guard case .latents(let autoencoder) = self else { return state }
        let factor = autoencoder.configuration.factor
        let pixels = try run.workspace.take(
            Shape(
                state.shape[0], autoencoder.configuration.outChannels, state.shape[2] * factor, state.shape[3] * factor)
        )
        for sample in Indices(below: state.shape[0]) {
            let one = try state.rows(sample, 1)
            let image =
                if let tile { try autoencoder.decodeTiled(one, tile: tile, run) } else {
                    try autoencoder.decode(one, run)
                }
            try run.store(image, in: pixels, row: sample)
            run.workspace.trim()
            try progress(sample + 1)
        }
        return pixels
    }

    /// Whether memory for decoding can be bounded by tiles.
    var takesTiles: Bool {
        switch self {
        case .pixels: false
        case .latents: true
        }
    }

    /// `pixels` [n, C, H, W] in -1 ... 1 as 8-bit images [n, H, W, C], as the published code of the family rounds them.
    func images(_ pixels: Tensor, _ run: Run, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        try run.images(pixels, budget: budget)
    }
}

extension Run {
    /// `x` [n, C, H, W] in -1 ... 1 as 8-bit images [n, H, W, C], rounded half to even.
    func images(_ x: Tensor, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        let storage = try Storage(byteCount: x.shape.count, budget: budget)
        try quantize(x, into: storage, scale: 127.5, offset: 127.5)
        return ImageBatch(
            count: x.shape[0], height: x.shape[2], width: x.shape[3], channels: x.shape[1], storage: storage)
    }
}

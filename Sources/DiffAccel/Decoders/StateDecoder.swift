import DiffModels
import DiffTensor

/// What turns the state that a sampler ends with into what the user asked for: one conformance for each kind of state.
protocol StateDecoder: Sendable {
    /// The name in descriptions.
    var name: String { get }
    /// Whether memory for decoding can be bounded by tiles.
    var takesTiles: Bool { get }
    /// The shape of what `state` [n, C, h, w] becomes; nil: the state is that already.
    func shape(of state: Shape) throws(DiffError) -> Shape?
    /// One sample [1, C, h, w] decoded, nominally in -1 ... 1; `tile` is the side of tiles in latents, nil: the whole.
    func decodeOne(_ state: Tensor, tile: Int?, _ run: Run) throws(DiffError) -> Tensor
    /// What is rounded to whole numbers, and by which scale and offset: as the published code of the family rounds.
    func levels(_ decoded: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float)
}

extension StateDecoder {
    var takesTiles: Bool { false }

    func levels(_ decoded: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float) {
        (decoded, 127.5, 127.5)
    }

    /// All samples of `state`, one after the other, so that memory does not grow with their number. Throws `notFinite` when a sample is not.
    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (Int) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        guard let shape = try shape(of: state.shape) else { return state }
        let all = try run.workspace.take(shape)
        for sample in Indices(below: state.shape[0]) {
            let decoded = try decodeOne(state.rows(sample, 1), tile: tile, run)
            try run.requireFinite(
                decoded, "the decoder's picture \(sample &+ 1) of \(state.shape[0]) (the decoder's weights)")
            try run.store(decoded, in: all, row: sample)
            run.workspace.trim()
            try progress(sample + 1)
        }
        return all
    }

    /// `decoded` [n, C, H, W] as 8-bit images [n, H, W, C], rounded half to even.
    func images(_ decoded: Tensor, _ run: Run, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        let (x, scale, offset) = try levels(decoded, run)
        let storage = try Storage(byteCount: x.shape.count, budget: budget)
        try run.quantize(x, into: storage, scale: scale, offset: offset)
        return ImageBatch(
            count: x.shape[0], height: x.shape[2], width: x.shape[3], channels: x.shape[1], storage: storage)
    }
}

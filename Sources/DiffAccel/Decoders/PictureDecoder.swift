import DiffTensor

/// A decoder to pictures: results have `pixels` [n, C, H, W], nominally in -1 ... 1, and 8-bit `images` [n, H, W, C].
protocol PictureDecoder: StateDecoder {
    /// The shape of what `state` [n, C, h, w] becomes; nil: the state is that already.
    func shape(of state: Shape) throws(DiffError) -> Shape?
    /// One sample [1, C, h, w] decoded.
    func decodeOne(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor
    /// The same in tiles of this side in latents, which ranks share; nil on a rank that only makes some of them.
    func decodeTiled(_ state: Tensor, tile: Int, _ run: Run) throws(DiffError) -> Tensor?
    /// What is rounded to whole numbers, and by which scale and offset: as the published code of the family rounds.
    func levels(_ pixels: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float)
}

extension PictureDecoder {
    var takesTiles: Bool { false }
    var isShared: Bool { true }

    func decodeTiled(_ state: Tensor, tile: Int, _ run: Run) throws(DiffError) -> Tensor? {
        run.isRoot ? try decodeOne(state, run) : nil
    }

    func levels(_ pixels: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float) {
        (pixels, 127.5, 127.5)
    }

    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (DecodeProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> [Tensor] {
        guard let shape = try shape(of: state.shape) else { return run.isRoot ? [state] : [] }
        let count = state.shape[0]
        let all = run.isRoot ? try run.workspace.take(shape) : nil
        func made(_ sample: Int, _ picture: Tensor?) throws(DiffError) {
            if let all, let picture {
                try run.requireFinite(
                    picture, "the decoder's picture \(sample &+ 1) of \(count) (the decoder's weights)")
                try run.store(picture, in: all, row: sample)
            }
            run.workspace.trim()
            try progress(DecodeProgress(done: sample &+ 1, count: count))
        }
        if let tile {
            for sample in Indices(below: count) {
                try made(sample, decodeTiled(state.rows(sample, 1), tile: tile, run))
            }
        } else {
            try run.pieces(count, of: shape.replacingFirst(1)) { (sample) throws(DiffError) in
                let picture = try decodeOne(state.rows(sample, 1), run)
                if !run.isRoot { try made(sample, nil) }
                return picture
            } use: { (sample, picture) throws(DiffError) in
                try made(sample, picture)
            }
        }
        return all.map { [$0] } ?? []
    }

    func results(_ decoded: [Tensor], _ run: Run, budget: MemoryBudget?) throws(DiffError) -> [ResultTensor] {
        guard let pixels = decoded.first else { return [] }
        return [ResultTensor("pixels", pixels), try ResultTensor("images", images(pixels, run, budget: budget))]
    }

    /// `pixels` [n, C, H, W] as 8-bit images [n, H, W, C], rounded half to even.
    func images(_ pixels: Tensor, _ run: Run, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        let (x, scale, offset) = try levels(pixels, run)
        let storage =
            run.isDry ? Storage(virtual: x.shape.count) : try Storage(byteCount: x.shape.count, budget: budget)
        if !run.isDry { try run.quantize(x, into: storage, scale: scale, offset: offset) }
        return ImageBatch(
            count: x.shape[0], height: x.shape[2], width: x.shape[3], channels: x.shape[1], storage: storage)
    }
}

import DiffCheckpoint
public import DiffTensor

/// The diffusion network of a MAR: from a noisy token, its time and what the decoder says about the token to the noise in it.
///
/// Each row is a token by itself. What depends on times and conditions alone, three fifths of the weights, is computed for many steps at once:
/// ``modulations(_:_:_:)``. Source: `SimpleMLPAdaLN` of LTH14/mar.
public final class MARHead: Sendable {
    private let tokenWidth, width: Int
    private let list: BlockList
    private let time: TimestepEmbedding
    private let condition, input: Linear
    private let blocks: [MARHeadBlock]
    private let finalModulation, finalProjection: Linear

    init(_ c: MARConfiguration, _ w: Weights, _ layout: inout SiteLayout) throws(DiffError) {
        (tokenWidth, width) = (c.tokenWidth, c.headWidth)
        let mlp = w.scope("time_embed.mlp")
        let half = c.timeFeatures / 2
        time = TimestepEmbedding(
            frequencies: TimeFrequencies(half: half, denominator: Float(half)),
            first: try Linear(mlp.scope("0"), c.timeFeatures, width, of: .vectors),
            second: try Linear(mlp.scope("2"), width, width, of: .vectors))
        condition = try Linear(w.scope("cond_embed"), c.decoder.width, width, of: .tokens)
        input = try Linear(w.scope("input_proj"), tokenWidth, width, of: .tokens)
        var blocks: [MARHeadBlock] = []
        let name = w.full("res_blocks")
        for index in Indices(below: c.headDepth) {
            blocks.append(
                try MARHeadBlock(
                    w.scope("res_blocks.\(index)"), width,
                    site: layout.add("\(name).\(index)", .block, list: name)))
        }
        self.blocks = blocks
        list = layout.lists.each.first { $0.name == name } ?? layout.blocks
        let final = w.scope("final_layer")
        finalModulation = try Linear(final.scope("adaLN_modulation.1"), width, 2 &* width, of: .tokens)
        finalProjection = try Linear(final.scope("linear"), width, 2 &* tokenWidth, of: .tokens)
    }

    /// Embeddings of the times `t` [n], 0 ... 999: [n, headWidth].
    public func times(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor { try time(t, run) }

    /// Embeddings of conditions `z` [..., width of the decoder]: [rows, headWidth].
    public func conditions(_ z: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let rows = try z.reshaped(Shape(1, z.shape.rows, z.shape.last))
        return try condition(rows, run).reshaped(Shape(z.shape.rows, width))
    }

    /// What the blocks are told at each of the times for each of the conditions, times before conditions: of embeddings [k, headWidth] and
    /// [n, headWidth].
    public func modulations(
        _ times: Tensor, _ conditions: Tensor, _ run: Run
    ) throws(DiffError) -> MARModulations {
        let (steps, rows) = (times.shape[0], conditions.shape[0])
        var repeated: [Int] = []
        for step in Indices(below: steps) { for _ in Indices(below: rows) { repeated.append(step) } }
        let spread = try run.embedding(times, repeated).reshaped(Shape(steps, rows, width))
        return try modulations(
            of: run.addTable(spread, conditions).reshaped(Shape(1, steps &* rows, width)), run)
    }

    /// The same of the sums `y` [..., headWidth] of an embedding of time and one of condition, for each row.
    public func modulations(of y: Tensor, _ run: Run) throws(DiffError) -> MARModulations {
        let rows = y.shape.rows
        let told = try run.activate(y.reshaped(Shape(1, rows, width)), .silu)
        var parts: [MARModulations.Part] = []
        for index in run.blocks(list).each {
            guard let block = blocks.at(index) else { continue }
            parts.append(
                MARModulations.Part(
                    block: index, vectors: try block.modulation(told, run).reshaped(Shape(rows, 3 &* width))))
        }
        return MARModulations(
            parts: parts, final: try finalModulation(told, run).reshaped(Shape(rows, 2 &* width)), rows: rows)
    }

    /// The network's output [n, 2 * tokenWidth] for noisy tokens `x` [m, tokenWidth]: epsilon, then the variance. It is told rows
    /// `first ..< first + n` of `modulations`; n is m, or twice m: then the same tokens are told something else in the second half.
    public func callAsFunction(
        _ x: Tensor, _ modulations: MARModulations, from first: Int = 0, rows n: Int, _ run: Run
    ) throws(DiffError) -> Tensor {
        let m = x.shape[0]
        guard x.shape == (try Shape(m, tokenWidth)), n == m || n == 2 &* m else {
            throw DiffError(
                .shape, "the head's tokens are \(x.shape) with \(n) conditions, expected [n, \(tokenWidth)]")
        }
        var h = try input(x.reshaped(Shape(m, 1, tokenWidth)), run)
        if n != m { h = try run.doubled(h) }
        for part in modulations.parts.each {
            guard let block = blocks.at(part.block) else { continue }
            h = try block(h, part.vectors.rows(first, n), run)
        }
        let told = try modulations.final.rows(first, n)
        h = try run.normModulate(
            h, shift: RowVectors(told, 0, of: 2), scale: RowVectors(told, 1, of: 2), eps: MARConfiguration.eps)
        return try finalProjection(h, run).reshaped(Shape(n, 2 &* tokenWidth))
    }
}

/// What the blocks of a head are told: shift, scale and gate of each block that runs, shift and scale of the end, a row for each token and time.
public struct MARModulations {
    struct Part {
        let block: Int
        /// [rows, 3 * headWidth]
        let vectors: Tensor
    }

    let parts: [Part]
    /// [rows, 2 * headWidth]
    let final: Tensor
    /// Tokens times steps.
    public let rows: Int
}

/// One residual block of the head.
final class MARHeadBlock: Sendable {
    let site: Site
    let modulation: Linear
    private let norm: LayerNorm
    private let fc1, fc2: Linear

    init(_ w: Weights, _ width: Int, site: Site) throws(DiffError) {
        self.site = site
        modulation = try Linear(w.scope("adaLN_modulation.1"), width, 3 &* width, of: .tokens)
        norm = try LayerNorm(w.scope("in_ln"), width, eps: MARConfiguration.eps)
        fc1 = try Linear(w.scope("mlp.0"), width, width, of: .tokens)
        fc2 = try Linear(w.scope("mlp.2"), width, width, of: .tokens)
    }

    /// `x` is [n, 1, width], `m` the block's vectors [n, 3 * width].
    func callAsFunction(_ x: Tensor, _ m: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let h = try run.normModulate(
                x, weight: norm.weight, bias: norm.bias, shift: RowVectors(m, 0, of: 3), scale: RowVectors(m, 1, of: 3),
                eps: norm.eps)
            let branch = try fc2(fc1(h, run, .silu), run)
            return try run.addGated(x, branch, gate: RowVectors(m, 2, of: 3))
        }
    }
}

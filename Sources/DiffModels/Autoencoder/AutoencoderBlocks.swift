import DiffCheckpoint
import DiffTensor

/// GN, SiLU, conv 3 x 3, twice, plus the input (through a 1 x 1 convolution when the widths differ).
final class ResidualBlock: Sendable {
    let site: Site
    let norm1, norm2: GroupNorm
    let conv1, conv2: Convolution
    let shortcut: Convolution?

    init(
        _ w: Weights, _ names: AutoencoderNames, _ inputs: Int, _ outputs: Int, groups: Int, site: Site
    ) throws(DiffError) {
        self.site = site
        norm1 = try GroupNorm(w.scope("norm1"), inputs, groups: groups)
        conv1 = try Convolution(w.scope("conv1"), inputs, outputs, kernel: 3, window: .init(padding: 1))
        norm2 = try GroupNorm(w.scope("norm2"), outputs, groups: groups)
        conv2 = try Convolution(w.scope("conv2"), outputs, outputs, kernel: 3, window: .init(padding: 1))
        shortcut =
            inputs == outputs
            ? nil : try Convolution(w.scope(names.shortcut), inputs, outputs, kernel: 1, window: .init())
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let h = try conv1(x, run, norm: norm1)
            let residual = if let shortcut { try shortcut(x, run) } else { x }
            return try conv2(h, run, norm: norm2, adding: residual)
        }
    }
}

/// Single-head attention over pixels, scale 1/√channels, plus the input.
final class PixelAttention: Sendable {
    let site: Site
    private let norm: GroupNorm
    private let projections: Projections
    private let output: Linear

    /// Queries, keys and values: from layers of their own, or from one.
    private enum Projections: Sendable {
        case apart(q: Linear, k: Linear, v: Linear)
        case fused(Linear)
    }

    init(_ w: Weights, _ names: AutoencoderNames, _ channels: Int, groups: Int, site: Site) throws(DiffError) {
        self.site = site
        norm = try GroupNorm(w.scope(names.attentionNorm), channels, groups: groups)
        var layers: [Linear] = []
        let isFused = w.has("qkv.weight")
        for (index, candidates) in names.attentionProjections.enumerated() where !isFused || index == 3 {
            let name = candidates.first { w.has("\($0).weight") } ?? candidates[0]
            layers.append(try Self.projection(w.scope(name), channels, channels))
        }
        projections =
            isFused
            ? .fused(try Self.projection(w.scope("qkv"), channels, 3 * channels))
            : .apart(q: layers[0], k: layers[1], v: layers[2])
        output = layers[layers.count - 1]
    }

    private static func projection(_ w: Weights, _ inputs: Int, _ outputs: Int) throws(DiffError) -> Linear {
        let weight = try w.packed("weight", [outputs, inputs], orShape: [outputs, inputs, 1, 1])
        return try Linear(weight: weight, bias: w.vector("bias", outputs))
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let (b, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
            let pixels = try run.transposed(norm(x, run).reshaped(Shape(b, c, h * w)))
            let (q, k, v) = try rows(pixels, run)
            let attended = try attended(q, k, v, run)
            let mixed = try run.transposed(output(attended, run))
            return try run.add(mixed.reshaped(x.shape), x)
        }
    }
}

extension PixelAttention {
    private typealias Rows = (q: AttentionRows, k: AttentionRows, v: AttentionRows)

    /// Among more tokens than this, queries are taken some at a time, so that a stop is seen before the end of minutes.
    private static let most = 16_384

    private func attended(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard q.rows > Self.most else { return try run.denseAttention(q, k, v, heads: 1) }
        var (spans, first): ([AttentionSpan], Int) = ([], 0)
        while first < q.rows {
            let count = min(Self.most / 2, q.rows &- first)
            spans.append(AttentionSpan(first: first, count: count, keys: k.rows))
            first &+= count
        }
        return try run.spannedAttention(q, k, v, heads: 1, scale: 1 / Float(q.width).squareRoot(), spans: spans)
    }

    private func rows(_ pixels: Tensor, _ run: Run) throws(DiffError) -> Rows {
        switch projections {
        case .apart(let q, let k, let v):
            return (
                try AttentionRows(q(pixels, run)), try AttentionRows(k(pixels, run)), try AttentionRows(v(pixels, run))
            )
        case .fused(let layer):
            let qkv = try layer(pixels, run)
            return (
                try AttentionRows(qkv, part: 0, of: 3), try AttentionRows(qkv, part: 1, of: 3),
                try AttentionRows(qkv, part: 2, of: 3)
            )
        }
    }
}

/// Residual block, attention where the checkpoint has one, residual block: the coarsest level of encoder and decoder.
final class MiddleBlock: Sendable {
    let site: Site
    private let first, second: ResidualBlock
    private let attention: PixelAttention?

    init(
        _ w: Weights, _ names: AutoencoderNames, _ channels: Int, groups: Int, attends: Bool, prefix: String,
        _ layout: inout SiteLayout
    ) throws(DiffError) {
        site = layout.add("\(prefix).\(names.middle)", .stage)
        first = try ResidualBlock(
            w.scope(names.middleBlock(0)), names, channels, channels, groups: groups,
            site: layout.add("\(prefix).\(names.middleBlock(0))", .resnet, in: site))
        attention =
            attends
            ? try PixelAttention(
                w.scope(names.middleAttention), names, channels, groups: groups,
                site: layout.add("\(prefix).\(names.middleAttention)", .attention, in: site)) : nil
        second = try ResidualBlock(
            w.scope(names.middleBlock(1)), names, channels, channels, groups: groups,
            site: layout.add("\(prefix).\(names.middleBlock(1))", .resnet, in: site))
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let h = try first(x, run)
            return try second(attention?(h, run) ?? h, run)
        }
    }
}

/// The residual blocks of one level, each followed by an attention where the checkpoint has one, then a change of size.
struct AutoencoderLevel: Sendable {
    let site: Site
    private let blocks: [(residual: ResidualBlock, attention: PixelAttention?)]
    /// What changes the size at the end.
    let resampler: Convolution?

    init(
        _ w: Weights, _ names: AutoencoderNames, _ inputs: Int, _ outputs: Int, layers: Int, groups: Int,
        resampler: (name: String, window: ConvolutionWindow)?, name: String, _ layout: inout SiteLayout
    ) throws(DiffError) {
        site = layout.add(name, .stage)
        var blocks: [(residual: ResidualBlock, attention: PixelAttention?)] = []
        for index in 0..<layers {
            let part = names.residual(index)
            let residual = try ResidualBlock(
                w.scope(part), names, index == 0 ? inputs : outputs, outputs, groups: groups,
                site: layout.add("\(name).\(part)", .resnet, in: site))
            var attention: PixelAttention?
            if names == .ldm, w.has("attn.\(index).norm.weight") {
                attention = try PixelAttention(
                    w.scope("attn.\(index)"), names, outputs, groups: groups,
                    site: layout.add("\(name).attn.\(index)", .attention, in: site))
            }
            blocks.append((residual, attention))
        }
        self.blocks = blocks
        if let resampler {
            self.resampler = try Convolution(
                w.scope(resampler.name), outputs, outputs, kernel: 3, window: resampler.window)
        } else {
            self.resampler = nil
        }
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let h = try features(x, run)
            return if let resampler { try resampler(h, run) } else { h }
        }
    }

    /// What the blocks make of `x`, or of `enlarged` in its place: a large picture that is made as it is used.
    func features(_ x: Tensor, enlarged: EnlargedPlanes? = nil, _ run: Run) throws(DiffError) -> Tensor {
        var h = x
        for (index, block) in blocks.numbered {
            h = if index == 0, let enlarged { try block.residual(enlarged, run) } else { try block.residual(h, run) }
            if let attention = block.attention { h = try attention(h, run) }
        }
        return h
    }
}

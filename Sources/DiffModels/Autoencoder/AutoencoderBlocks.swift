import DiffCheckpoint
import DiffTensor

/// GN, SiLU, conv 3 x 3, twice, plus the input (through a 1 x 1 convolution when the widths differ).
final class ResidualBlock: Sendable {
    let site: Site
    private let norm1, norm2: GroupNorm
    private let conv1, conv2: Convolution
    private let shortcut: Convolution?

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
            let h = try conv1(norm1(x, run, .silu), run)
            let residual = if let shortcut { try shortcut(x, run) } else { x }
            return try conv2(norm2(h, run, .silu), run, adding: residual)
        }
    }
}

/// Single-head attention over pixels, scale 1/√channels, plus the input.
final class PixelAttention: Sendable {
    let site: Site
    private let norm: GroupNorm
    private let q, k, v, output: Linear

    init(_ w: Weights, _ names: AutoencoderNames, _ channels: Int, groups: Int, site: Site) throws(DiffError) {
        self.site = site
        norm = try GroupNorm(w.scope(names.attentionNorm), channels, groups: groups)
        var projections: [Linear] = []
        for candidates in names.attentionProjections {
            let scope = w.scope(candidates.first { w.has("\($0).weight") } ?? candidates[0])
            let weight = try scope.packed("weight", [channels, channels], orShape: [channels, channels, 1, 1])
            projections.append(try Linear(weight: weight, bias: scope.vector("bias", channels)))
        }
        (q, k, v, output) = (projections[0], projections[1], projections[2], projections[3])
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let (b, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
            let pixels = try run.transposed(norm(x, run).reshaped(Shape(b, c, h * w)))
            let attended = try run.denseAttention(
                AttentionRows(q(pixels, run)), AttentionRows(k(pixels, run)), AttentionRows(v(pixels, run)), heads: 1)
            let mixed = try run.transposed(output(attended, run))
            return try run.add(mixed.reshaped(x.shape), x)
        }
    }
}

/// Residual block, attention, residual block: the coarsest level of encoder and decoder.
final class MiddleBlock: Sendable {
    let site: Site
    private let first, second: ResidualBlock
    private let attention: PixelAttention

    init(
        _ w: Weights, _ names: AutoencoderNames, _ channels: Int, groups: Int, prefix: String,
        _ layout: inout SiteLayout
    ) throws(DiffError) {
        site = layout.add("\(prefix).\(names.middle)", .stage)
        first = try ResidualBlock(
            w.scope(names.middleBlock(0)), names, channels, channels, groups: groups,
            site: layout.add("\(prefix).\(names.middleBlock(0))", .resnet, in: site))
        attention = try PixelAttention(
            w.scope(names.middleAttention), names, channels, groups: groups,
            site: layout.add("\(prefix).\(names.middleAttention)", .attention, in: site))
        second = try ResidualBlock(
            w.scope(names.middleBlock(1)), names, channels, channels, groups: groups,
            site: layout.add("\(prefix).\(names.middleBlock(1))", .resnet, in: site))
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in try second(attention(first(x, run), run), run) }
    }
}

/// The residual blocks of one level, then a change of size.
struct AutoencoderLevel: Sendable {
    let site: Site
    private let blocks: [ResidualBlock]
    private let resampler: Convolution?

    init(
        _ w: Weights, _ names: AutoencoderNames, _ inputs: Int, _ outputs: Int, layers: Int, groups: Int,
        resampler: (name: String, window: ConvolutionWindow)?, name: String, _ layout: inout SiteLayout
    ) throws(DiffError) {
        site = layout.add(name, .stage)
        var blocks: [ResidualBlock] = []
        for index in 0..<layers {
            let part = names.residual(index)
            blocks.append(
                try ResidualBlock(
                    w.scope(part), names, index == 0 ? inputs : outputs, outputs, groups: groups,
                    site: layout.add("\(name).\(part)", .resnet, in: site)))
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
            var h = x
            for block in blocks { h = try block(h, run) }
            return if let resampler { try resampler(h, run) } else { h }
        }
    }
}

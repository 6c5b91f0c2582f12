import DiffCheckpoint
import DiffTensor

/// A resnet, and the transformer behind it where its level has one.
final class UNetLayer: Sendable {
    private let resnet: UNetResnet
    private let transformer: UNetTransformer?

    /// Where a skip is taken, and what gives one.
    var taker: Site { resnet.site }
    var giver: Site { transformer?.site ?? resnet.site }

    /// Layer `index` of the level at the scope of `w`; `blocks` nil: without a transformer.
    init(
        _ w: Weights, _ index: Int, _ inputs: Int, _ outputs: Int, heads: Int, blocks: Int?, in parent: Site,
        _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        resnet = try UNetResnet(w.scope("resnets").scope(index: index), inputs, outputs, in: parent, &assembly)
        if let blocks {
            transformer = try UNetTransformer(
                w.scope("attentions").scope(index: index), outputs, heads: heads, blocks: blocks, in: parent, &assembly)
        } else {
            transformer = nil
        }
    }

    func prepare(_ text: Tensor, _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        try transformer?.prepare(text, run, into: &contexts)
    }

    func callAsFunction(_ x: Tensor, skip: Tensor? = nil, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        let h = try resnet(x, skip: skip, call, run)
        return if let transformer { try transformer(h, call, run) } else { h }
    }
}

/// A convolution with a site of its own.
final class UNetConvolution: Sendable {
    let site: Site
    private let convolution: Convolution

    /// The convolution at the scope of `w`, whose site is called `name`.
    init(
        _ w: Weights, _ name: String, _ inputs: Int, _ outputs: Int, kernel: Int, _ window: ConvolutionWindow,
        in parent: Site? = nil, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        site = assembly.layout.add(name, .other, in: parent)
        convolution = try Convolution(w, inputs, outputs, kernel: kernel, window: window)
    }

    /// The convolution of `x`, or of SiLU of `norm` of it.
    func callAsFunction(_ x: Tensor, _ run: Run, norm: GroupNorm? = nil) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            if let norm { try convolution(x, run, norm: norm) } else { try convolution(x, run) }
        }
    }
}

import DiffCheckpoint
import DiffTensor

/// A resnet, and the transformers behind it where its level has any.
final class UNetLayer: Sendable {
    private let resnet: UNetResnet
    private let transformers: [UNetTransformer]

    /// Where a skip is taken, and what gives one.
    var taker: Site { resnet.site }
    var giver: Site { transformers.last?.site ?? resnet.site }

    /// Layer `index` of `level` at the scope of `w`. The transformers of its layers are one list.
    init(
        _ w: Weights, _ index: Int, _ inputs: Int, _ level: UNetConfiguration.Level, in parent: Site,
        _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        resnet = try UNetResnet(w.scope("resnets").scope(index: index), inputs, level.channels, in: parent, &assembly)
        var transformers: [UNetTransformer] = []
        if let blocks = level.transformers.at(index) ?? nil {
            for (position, source) in level.sources.numbered {
                let number = index &* level.sources.count &+ position  // 65 of 16 at most
                transformers.append(
                    try UNetTransformer(
                        w.scope("attentions").scope(index: number), level, blocks: blocks, reading: source, in: parent,
                        &assembly))
            }
        }
        self.transformers = transformers
    }

    func prepare(_ texts: [Tensor], _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        for transformer in transformers.each { try transformer.prepare(texts, run, into: &contexts) }
    }

    func callAsFunction(_ x: Tensor, skip: Tensor? = nil, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        var h = try resnet(x, skip: skip, call, run)
        for transformer in transformers.each { h = try transformer(h, call, run) }
        return h
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

import DiffCheckpoint
import DiffTensor

/// A level of the way down: every layer's output is a skip, and so is what the halving at the end gives.
final class UNetDownBlock: Sendable {
    let site: Site
    private let layers: [UNetLayer]
    private let downsampler: UNetConvolution?

    init(
        _ w: Weights, _ inputs: Int, _ level: UNetConfiguration.Level, halves: Bool, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        site = assembly.layout.add(w.path, .stage, level: level.number)
        var layers: [UNetLayer] = []
        for index in Indices(below: level.layers) {
            layers.append(
                try UNetLayer(w, index, index == 0 ? inputs : level.channels, level, in: site, &assembly))
        }
        self.layers = layers
        let window =
            assembly.configuration.downsamplePadding == 0
            ? ConvolutionWindow.halving : ConvolutionWindow(padding: 1, stride: 2)
        downsampler =
            halves
            ? try UNetConvolution(
                w.scope("downsamplers.0.conv"), w.full("downsamplers.0"), level.channels, level.channels, kernel: 3,
                window, in: site, &assembly) : nil
    }

    /// What gives the skips, in their order.
    var givers: [Site] {
        var givers = layers.map { $0.giver }
        if let downsampler { givers.append(downsampler.site) }
        return givers
    }

    func prepare(_ texts: [Tensor], _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        for layer in layers.each { try layer.prepare(texts, run, into: &contexts) }
    }

    /// The state, then the skips in the order in which they were made.
    func callAsFunction(_ x: Tensor, _ call: UNetCall, _ run: Run) throws(DiffError) -> Slots {
        try run.at(site, Slots(x)) { () throws(DiffError) in
            var out = Slots(x)
            for layer in layers.each {
                out.first = try layer(out.first, call, run)
                out.others.append(out.first)
            }
            guard let downsampler else { return out }
            out.first = try downsampler(out.first, run)
            out.others.append(out.first)
            return out
        }
    }
}

/// A level of the way up: every layer takes a skip, the one made last first.
final class UNetUpBlock: Sendable {
    let site: Site
    private let layers: [UNetLayer]
    private let upsampler: UNetUpsampler?
    /// Skips that it takes, and where.
    var skips: Int { layers.count }
    var takers: [Site] { layers.map { $0.taker } }

    /// `inputs` are the channels of the level below, `next` those of the level above, where the last skip comes from.
    init(
        _ w: Weights, _ inputs: Int, _ level: UNetConfiguration.Level, next: Int, doubles: Bool,
        _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        site = assembly.layout.add(w.path, .stage, level: level.number)
        var layers: [UNetLayer] = []
        for index in Indices(below: level.layers) {
            let own = index == 0 ? inputs : level.channels
            let skip = index == level.layers &- 1 ? next : level.channels
            layers.append(try UNetLayer(w, index, own &+ skip, level, in: site, &assembly))
        }
        self.layers = layers
        upsampler =
            doubles ? try UNetUpsampler(w.scope("upsamplers.0"), level.channels, in: site, &assembly) : nil
    }

    func prepare(_ texts: [Tensor], _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        for layer in layers.each { try layer.prepare(texts, run, into: &contexts) }
    }

    /// `skips` as many as there are layers, in the order in which they are taken; the result is as large as `size`, a skip of the next level.
    func callAsFunction(
        _ x: Tensor, skips: [Tensor], size: Shape?, _ call: UNetCall, _ run: Run
    ) throws(DiffError) -> Tensor {
        try run.at(site, Slots(x, skips)) { () throws(DiffError) in
            var h = x
            for (index, layer) in layers.numbered { h = try layer(h, skip: skips.at(index), call, run) }
            if let upsampler { h = try upsampler(h, size: size, run) }
            return Slots(h)
        }.first
    }
}

/// What is between both ways: two resnets and transformers between them, or one resnet.
final class UNetMiddleBlock: Sendable {
    let site: Site
    private let first: UNetLayer
    private let second: UNetResnet?

    /// `level` has one layer; without transformers it is one resnet alone.
    init(_ w: Weights, _ level: UNetConfiguration.Level, _ assembly: inout UNetAssembly) throws(DiffError) {
        let channels = level.channels
        // On no level: methods that name levels leave it alone.
        site = assembly.layout.add(w.path, .stage)
        first = try UNetLayer(w, 0, channels, level, in: site, &assembly)
        second = level.attends ? try UNetResnet(w.scope("resnets.1"), channels, channels, in: site, &assembly) : nil
    }

    func prepare(_ texts: [Tensor], _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        try first.prepare(texts, run, into: &contexts)
    }

    func callAsFunction(_ x: Tensor, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let h = try first(x, call, run)
            return if let second { try second(h, call, run) } else { h }
        }
    }
}

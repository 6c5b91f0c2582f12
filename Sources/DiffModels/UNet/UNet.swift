public import DiffCheckpoint
public import DiffTensor

/// The U-Net of Stable Diffusion 1, 2 and XL (`UNet2DConditionModel` of diffusers), of LCM and of in-painting, of AudioLDM, and that of
/// AudioLDM2 (`AudioLDM2UNet2DConditionModel`), from diffusers' names.
///
/// Immutable after loading; any number of runs may use one model at once.
public final class UNet: ConditionedDenoiser {
    /// Sizes and options.
    public let configuration: UNetConfiguration
    /// Sites by module path: levels and transformers (stages), resnets, transformer blocks, their attentions and their feed-forward,
    /// convolutions. Blocks of all transformers are one list.
    public let layout: SiteLayout
    private let embedding: UNetEmbedding
    private let input, output: UNetConvolution
    private let down: [UNetDownBlock]
    private let middle: UNetMiddleBlock?
    private let up: [UNetUpBlock]
    private let norm: GroupNorm
    private let normSite: Site
    private let contexts: Int

    /// Loads the network. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: UNetConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Each part has tensors of its own; a config that claims more must not make us build them first.
        guard c.parts <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.parts) blocks")
        }
        var assembly = UNetAssembly(c)
        input = try UNetConvolution(
            weights.scope("conv_in"), "conv_in", c.inChannels, c.timeFeatures, kernel: c.inKernel,
            ConvolutionWindow(padding: c.inKernel / 2), &assembly)
        var (channels, down): (Int, [UNetDownBlock]) = (c.timeFeatures, [])
        for (index, level) in c.down.numbered {
            down.append(
                try UNetDownBlock(
                    weights.scope("down_blocks").scope(index: index), channels, level,
                    halves: index < c.down.count &- 1, &assembly))
            channels = level.channels
        }
        middle = try c.middleLevel.map { (level) throws(DiffError) in
            try UNetMiddleBlock(weights.scope("mid_block"), level, &assembly)
        }
        var up: [UNetUpBlock] = []
        for (index, level) in c.up.numbered {
            up.append(
                try UNetUpBlock(
                    weights.scope("up_blocks").scope(index: index), channels, level,
                    next: (c.up.at(index &+ 1) ?? level).channels, doubles: index < c.up.count &- 1, &assembly))
            channels = level.channels
        }
        normSite = assembly.layout.add("conv_norm_out", .other)
        norm = try GroupNorm(weights.scope("conv_norm_out"), channels, groups: c.groups, eps: c.normEps)
        output = try UNetConvolution(
            weights.scope("conv_out"), "conv_out", channels, c.outChannels, kernel: c.outKernel,
            ConvolutionWindow(padding: c.outKernel / 2), &assembly)
        embedding = try UNetEmbedding(weights, assembly)
        try weights.finish()
        (self.configuration, self.down, self.up) = (c, down, up)
        assembly.pair(input.site, down, up)
        (layout, contexts) = (assembly.layout, assembly.contexts)
    }

    /// 4, and 9 for in-painting.
    public var channels: Int { configuration.inChannels }
    /// As many as the states have.
    public var predictedChannels: Int { configuration.outChannels }
    /// `sample_size`.
    public var side: Int { configuration.sampleSide }
    /// Any size: a level that is enlarged becomes as large as the skip that it meets.
    public var sideMultiple: Int { 1 }
    /// Any.
    public var maxSide: Int? { nil }
    /// `cross_attention_dim`; 0 for AudioLDM.
    public var textWidth: Int { configuration.textWidth }
    /// That of AudioLDM2's second text.
    public var secondTextWidth: Int? { configuration.textWidths.at(1) }
    /// What is left of `projection_class_embeddings_input_dim` beside six sizes, or all of it.
    public var pooledWidth: Int? {
        if let classVector = configuration.classVector { return classVector.width }
        return configuration.addition.map { $0.width &- UNetConfiguration.sizes &* $0.sizeFeatures }
    }
    /// Whether it is SDXL's.
    public var takesSizes: Bool { configuration.addition != nil }
    /// Whether it is LCM's.
    public var takesGuidance: Bool { configuration.guidanceFeatures != nil }

    /// Keys and values of every cross-attention, and embeddings of what the network is told beside the time.
    public func prepare(_ conditioning: Conditioning, _ run: Run) throws(DiffError) -> PreparedConditioning {
        let guidance = try conditioning.guidance.flatMap { (scale) throws(DiffError) in
            try embedding.guidanceFeatures(scale, run)
        }
        return try prepare(conditioning, guidanceFeatures: guidance, run)
    }

    /// The same with the features of the guidance scale, [n, time_cond_proj_dim], in its place; nil: the network is told none.
    public func prepare(
        _ conditioning: Conditioning, guidanceFeatures: Tensor?, _ run: Run
    ) throws(DiffError) -> PreparedConditioning {
        let told = try UNetTexts(conditioning, configuration)
        var tensors = try embedding.prepare(conditioning, guidance: guidanceFeatures, run)
        for block in down.each { try block.prepare(told.texts, run, into: &tensors) }
        try middle?.prepare(told.texts, run, into: &tensors)
        for block in up.each { try block.prepare(told.texts, run, into: &tensors) }
        for mask in try told.masks(run).each { tensors.append(mask) }
        return PreparedConditioning(tensors, samples: told.samples)
    }

    /// The prediction [n, outChannels, h, w] for `x` [n, inChannels, h, w] of any size; `t` [n], fractions allowed.
    public func callAsFunction(
        _ x: Tensor, t: Tensor, _ conditioning: PreparedConditioning, _ run: Run
    ) throws(DiffError) -> Tensor {
        let c = configuration
        guard x.shape.rank == 4, x.shape[1] == c.inChannels, x.shape.count > 0, t.shape.rank == 1,
            t.shape[0] == x.shape[0]
        else {
            throw DiffError(
                .shape, "U-Net input x \(x.shape), t \(t.shape); expected x [n, \(c.inChannels), h, w], t [n]")
        }
        let constants = embedding.constants
        let (unmasked, count) = (constants &+ contexts, conditioning.tensors.count)
        guard conditioning.samples == x.shape[0], count == unmasked || count == unmasked &+ c.textWidths.count else {
            throw DiffError(
                .shape, "a conditioning of \(conditioning.samples) samples for \(x.shape[0]), or of another network")
        }
        var (given, keysAndValues, masks): ([Tensor], [Tensor], [KeyMask?]) = ([], [], [])
        for (index, tensor) in conditioning.tensors.numbered {
            if index < constants {
                given.append(tensor)
            } else if index < unmasked {
                keysAndValues.append(tensor)
            } else {
                masks.append(UNetTexts.mask(tensor))
            }
        }
        let call = UNetCall(
            times: try embedding(t, given, run), contexts: keysAndValues, masks: masks,
            blocks: run.blocks(layout.blocks))
        var h = try input(x, run)
        var skips = [h]
        for block in down.each {
            let out = try block(h, call, run)
            h = out.first
            for skip in out.others.each { skips.append(skip) }
        }
        if let middle { h = try middle(h, call, run) }
        for block in up.each {
            var taken: [Tensor] = []
            for _ in Indices(below: block.skips) {
                if let skip = skips.popLast() { taken.append(skip) }
            }
            h = try block(h, skips: taken, size: skips.last?.shape, call, run)
        }
        guard run.isAsked(normSite) else {
            // Applied where the convolution reads.
            return try output(run.at(normSite, h) { h }, run, norm: norm)
        }
        let normed = try run.at(normSite, h) { () throws(DiffError) in try norm(h, run) }
        return try output(run.activate(normed, .silu), run)
    }

    /// Sinusoidal features of `t` [n], and their embedding without what else the network is told: [n, timeWidth].
    public func timeEmbedding(
        _ t: Tensor, _ run: Run
    ) throws(DiffError) -> (features: Tensor, embedding: Tensor) {
        let features = try embedding.timeFeatures(t, run)
        return (features, try embedding.plainEmbedding(features, run))
    }
}

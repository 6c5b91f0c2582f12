import DiffCheckpoint
import DiffTensor

/// A U-Net while it is loaded: its sites, and what its parts share.
struct UNetAssembly {
    let configuration: UNetConfiguration
    var layout: SiteLayout
    /// Columns of the time projection of all resnets, which is one layer: whose they are, and how many.
    private(set) var timeNames: [String] = [], timeWidths: [Int] = []
    private(set) var timeColumns = 0
    /// Cross-attentions so far.
    private(set) var contexts = 0

    init(_ configuration: UNetConfiguration) {
        self.configuration = configuration
        var traits: Set<NetworkTrait> = configuration.projectsLinearly ? [.projectsLinearly] : []
        if configuration.coversTimeAndFrequency { traits = traits.union([.coversTimeAndFrequency]) }
        layout = SiteLayout(
            family: configuration.isAudioLDM2 ? "audioldm2_unet2d_condition" : "unet2d_condition", traits)
    }

    /// The first of `width` columns of the time projection for the resnet `name`.
    mutating func addTime(_ name: String, _ width: Int) -> Int {
        timeNames.append(name)
        timeWidths.append(width)
        defer { timeColumns = Checked.sum(timeColumns, width) }
        return timeColumns
    }

    /// Declares the skip connections: what is given last is taken first.
    mutating func pair(_ input: Site, _ down: [UNetDownBlock], _ up: [UNetUpBlock]) {
        var givers = [input]
        for block in down.each { for giver in block.givers.each { givers.append(giver) } }
        for block in up.each {
            for taker in block.takers.each {
                guard let giver = givers.popLast() else { return }
                layout.pair(giver, taker)
            }
        }
    }

    /// The number of a cross-attention among those whose keys and values are made once per prompt.
    mutating func addContext() -> Int {
        defer { contexts &+= 1 }
        return contexts
    }
}

/// What the parts of a U-Net are given in a call beside their input.
struct UNetCall {
    /// The time projections of all resnets, [batch, columns].
    let times: Tensor
    /// Keys and values of each cross-attention, [batch, tokens, 2 · width].
    let contexts: [Tensor]
    /// Which keys of each text are seen; empty: all of all.
    let masks: [KeyMask?]
    /// Transformer blocks that run.
    let blocks: [Int]
}

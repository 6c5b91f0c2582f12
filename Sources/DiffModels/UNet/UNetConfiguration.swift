public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of a U-Net of Stable Diffusion, AudioLDM or AudioLDM2. Keys and defaults are those of diffusers'
/// `UNet2DConditionModel` and `AudioLDM2UNet2DConditionModel`.
public struct UNetConfiguration: Sendable, Equatable {
    /// What stands between the way down and the way up.
    public enum Middle: Sendable, Equatable {
        /// Two resnets and a transformer of so many blocks between them.
        case transformer(blocks: Int)
        case resnet
        case none
    }

    /// What the second attention of a transformer's blocks reads.
    public enum Source: Sendable, Equatable {
        /// The blocks' own tokens, as the first attention does.
        case tokens
        /// The text of that number: ``Conditioning/states``, ``Conditioning/secondStates``.
        case text(Int)
    }

    /// A level of the way down or up.
    public struct Level: Sendable, Equatable {
        /// Channels of its resnets' outputs.
        public let channels: Int
        /// Attention heads of its transformers; the channels divide by them.
        public internal(set) var heads: Int
        /// Blocks of each transformer after each resnet; nil: no transformer.
        public let transformers: [Int?]
        /// The transformers after a resnet that has any, by what they read.
        public let sources: [Source]
        /// Counted from the finest, which is 0.
        public let number: Int

        /// Resnets.
        var layers: Int { transformers.count }
        var attends: Bool { transformers.each.contains { $0 != nil } }
    }

    /// A vector that is told beside the time: `class_embed_type` simple_projection of AudioLDM.
    public struct ClassVector: Sendable, Equatable {
        /// Its width.
        public let width: Int
        /// Whether its embedding stands behind that of the time; else it is added to it.
        public let isJoined: Bool
    }

    /// What is told beside the time: `text_time` of SDXL.
    public struct Addition: Sendable, Equatable {
        /// Sinusoidal features of each size.
        public let sizeFeatures: Int
        /// The features of all sizes and the pooled text together.
        public let width: Int
    }

    /// Side of the square states that it was trained on.
    public var sampleSide: Int
    /// Channels of the input.
    public var inChannels: Int
    /// Channels of the prediction.
    public var outChannels: Int
    /// The way down, finest level first.
    public var down: [Level]
    /// The way up, coarsest level first.
    public var up: [Level]
    /// Between them.
    public var middle: Middle
    /// Widths of the texts that attention reads, none to two.
    public var textWidths: [Int]
    /// What the transformer in the middle reads, one for each of several.
    public var middleSources: [Source]
    /// Whether it is diffusers' `AudioLDM2UNet2DConditionModel`.
    public var isAudioLDM2: Bool
    /// Groups of every group norm, and eps of those of resnets and of the last one.
    public var groups: Int, normEps: Float
    /// Whether cosines come first in the features of times and sizes, and what is taken off the number of their frequencies in the divisor.
    public var cosinesFirst: Bool, frequencyShift: Float
    /// Width of the embedding of times.
    public var timeWidth: Int
    /// Features of the guidance scale that it is told; nil: it is told none.
    public var guidanceFeatures: Int?
    /// What is told beside the time; nil: nothing.
    public var addition: Addition?
    /// A vector that is told beside the time; nil: none.
    public var classVector: ClassVector?
    /// Zeros around what is halved: 1 on all sides, or (0) one below and one to the right.
    public var downsamplePadding: Int
    /// `use_linear_projection`: which generation the network is of. How its projections are stored is the tensors' affair.
    public var projectsLinearly: Bool
    /// Sides of the first and the last convolution.
    public var inKernel: Int, outKernel: Int

    /// eps of the group norm of transformers and of their layer norms: not in the config.
    static let transformerEps: Float = 1e-6, layerNormEps: Float = 1e-5
    /// Numbers that SDXL is told: original height and width, top and left of the crop, target height and width.
    static let sizes = 6

    /// Reads a config. Throws `format` and `unsupported`, naming the key.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        let sides = try c.oneOrMoreIntegers("sample_size", in: 1...8192)
        sampleSide = sides.each.reduce(0) { max($0, $1) }
        if sides.isEmpty { sampleSide = 64 }
        inChannels = try c.integer("in_channels", in: 1...1024, default: 4)
        outChannels = try c.integer("out_channels", in: 1...1024, default: 4)
        groups = try c.integer("norm_num_groups", in: 1...1024, default: 32)
        normEps = Float(try c.number("norm_eps", in: 0...1, default: 1e-5))
        cosinesFirst = try c.bool("flip_sin_to_cos", default: true)
        frequencyShift = Float(try c.number("freq_shift", in: 0...1, default: 0))
        downsamplePadding = try c.integer("downsample_padding", in: 0...1, default: 1)
        projectsLinearly = try c.bool("use_linear_projection", default: false)
        inKernel = try c.integer("conv_in_kernel", in: 1...15, default: 3)
        outKernel = try c.integer("conv_out_kernel", in: 1...15, default: 3)
        guidanceFeatures = try c.optionalInteger("time_cond_proj_dim", in: 2...65536)
        classVector = try Self.classVector(c)
        let reading = try Reading(c, isToldClass: classVector != nil)
        (textWidths, isAudioLDM2) = (reading.widths, reading.isAudioLDM2)
        middleSources = reading.levels.last ?? []
        try (down, up, middle) = Self.levels(c, reading)
        timeWidth = try c.optionalInteger("time_embedding_dim", in: 1...65536) ?? 4 &* (down.first?.channels ?? 0)
        addition = try Self.addition(c)
        try check(c)
    }

    /// Width of the first text; 0: none is read.
    public var textWidth: Int { textWidths.first ?? 0 }
    /// Width of the vector that resnets are told: that of the time's embedding, with the class behind it where that is so.
    var toldWidth: Int { classVector?.isJoined == true ? 2 &* timeWidth : timeWidth }
    /// Whether the grid is of times and frequencies.
    var coversTimeAndFrequency: Bool { isAudioLDM2 || textWidths.isEmpty }
    /// Features of a time.
    public var timeFeatures: Int { down.first?.channels ?? 0 }
    /// Channels of the coarsest level.
    var coarsest: Int { down.last?.channels ?? 0 }
    /// Heads of the transformer in the middle.
    var middleHeads: Int { down.last?.heads ?? 1 }
    /// What is in the middle as a level of one layer; nil: nothing.
    var middleLevel: Level? {
        let blocks: Int? = if case .transformer(let count) = middle { count } else { nil }
        guard middle != .none else { return nil }
        return Level(
            channels: coarsest, heads: middleHeads, transformers: [blocks], sources: middleSources,
            number: max(0, down.count &- 1))
    }

    /// Resnets and transformer blocks, each of which has tensors of its own.
    var parts: Int {
        var count = 2
        for way in [down, up] {
            for level in way.each {
                for blocks in level.transformers.each {
                    count = Checked.sum(count, 1, (blocks ?? 0) &* level.sources.count)  // 256 of 16 at most
                }
            }
        }
        if case .transformer(let blocks) = middle { count = Checked.sum(count, blocks &* middleSources.count) }
        return count
    }

    /// Divides the channels of each level with transformers into heads of `width` channels, whatever the config says: the original
    /// AudioLDM and AudioLDM2 were trained with 32 channels a head, their published configs compute with other numbers of heads. Throws
    /// `invalidArgument` when a level does not divide.
    public mutating func divideHeads(channelsPerHead width: Int) throws(DiffError) {
        func heads(_ level: Level) throws(DiffError) -> Int {
            guard width > 0, level.channels % width == 0 else {
                throw DiffError(
                    .invalidArgument,
                    "\(level.channels) channels do not divide into heads of \(width): leave out the override of heads, or give a "
                        + "width that divides the channels of all levels with attention")
            }
            return level.channels / width
        }
        var (downward, upward): ([Level], [Level]) = ([], [])
        for (index, level) in down.numbered {
            var level = level
            let isMiddle = index == down.count &- 1 && middle != .resnet && middle != .none
            if level.attends || isMiddle { level.heads = try heads(level) }
            downward.append(level)
        }
        for level in up.each {
            var level = level
            if level.attends { level.heads = try heads(level) }
            upward.append(level)
        }
        (down, up) = (downward, upward)
    }

    private func check(_ c: JSONObject) throws(DiffError) {
        if c.members["norm_num_groups"] == .null {
            throw c.error(
                "norm_num_groups", "null: a network without group norms is not supported; only numbers of groups are")
        }
        for way in [down, up] {
            for level in way.each { try check(level, c) }
        }
        if case .transformer = middle, coarsest % max(1, middleHeads) != 0 {
            throw c.error("attention_head_dim", "\(coarsest) channels do not divide into \(middleHeads) heads")
        }
        guard timeFeatures % 2 == 0, (guidanceFeatures ?? 2) % 2 == 0, (addition?.sizeFeatures ?? 2) % 2 == 0 else {
            throw DiffError(
                .unsupported, "\(c.place): features of times are sines and cosines; their number must be even")
        }
        let half = min(timeFeatures, addition?.sizeFeatures ?? timeFeatures) / 2
        guard Float(half) > frequencyShift else {
            throw c.error("freq_shift", "\(frequencyShift) leaves nothing of \(half) frequencies")
        }
        guard inKernel % 2 == 1, outKernel % 2 == 1 else {
            throw DiffError(.unsupported, "\(c.place): only first and last convolutions of an odd size are supported")
        }
    }

    private func check(_ level: Level, _ c: JSONObject) throws(DiffError) {
        guard level.channels % max(1, groups) == 0 else {
            throw c.error(
                "block_out_channels", "\(level.channels) channels do not divide into \(groups) groups (norm_num_groups)"
            )
        }
        guard !level.attends || level.channels % max(1, level.heads) == 0 else {
            throw c.error(
                "attention_head_dim", "\(level.channels) channels do not divide into \(level.heads) heads")
        }
    }
}

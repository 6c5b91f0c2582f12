public import DiffCheckpoint
public import DiffTensor

/// Sizes of a HiFi-GAN vocoder. Keys and defaults are those of transformers' `SpeechT5HifiGanConfig`.
public struct VocoderConfiguration: Sendable, Equatable {
    /// What multiplies the length.
    public struct Stage: Sendable, Equatable {
        /// Samples for each that there are before, and the kernel of the transposed convolution that makes them.
        public let rate: Int, kernel: Int
        /// Channels behind it.
        public let channels: Int

        /// Rows that it takes off at both ends of what a transposed convolution gives.
        var padding: Int { (kernel &- rate) / 2 }
        /// Rows of `rows`; nil beyond what a tensor may have.
        func length(_ rows: Int) -> Int? {
            guard rows > 0, let strided = Checked.multiply(rows &- 1, rate),
                let all = Checked.add(strided, kernel &- 2 &* padding), all < Shape.maxCount
            else { return nil }
            return all
        }
    }

    /// Convolutions of a residual block.
    public struct Residual: Sendable, Equatable {
        /// Odd.
        public let kernel: Int
        /// Rows between the taps of the first of each pair of convolutions.
        public let dilations: [Int]
    }

    /// Frequency bins of a spectrogram.
    public var bins: Int
    /// Samples in a second.
    public var samplingRate: Int
    /// Channels before the first stage.
    public var firstChannels: Int
    /// In their order.
    public var stages: [Stage]
    /// The residual blocks behind each stage, of whose results the mean is taken.
    public var residuals: [Residual]
    /// What numbers below 0 are multiplied by.
    public var slope: Float
    /// Whether spectrograms are standardised by statistics of the checkpoint first.
    public var normalises: Bool

    /// Taps of the first and the last convolution, and what numbers below 0 are multiplied by before the last one: not in the config.
    static let endTaps = 7
    static let lastSlope: Float = 0.01

    /// Reads a config. Throws `format` and `unsupported`, naming the key.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        bins = try c.integer("model_in_dim", in: 1...4096, default: 80)
        samplingRate = try c.integer("sampling_rate", in: 1...1_000_000, default: 16000)
        firstChannels = try c.integer("upsample_initial_channel", in: 1...65536, default: 512)
        let rates = try c.integers("upsample_rates", in: 1...1024, default: [4, 4, 4, 4])
        let kernels = try c.integers("upsample_kernel_sizes", in: 1...4096, default: [8, 8, 8, 8])
        guard (1...16).contains(rates.count), kernels.count == rates.count else {
            throw c.error(
                "upsample_kernel_sizes", "\(kernels.count) kernels for \(rates.count) upsample_rates; 1 to 16 of both")
        }
        var (stages, channels): ([Stage], Int) = ([], firstChannels)
        for (index, rate) in rates.numbered {
            let kernel = kernels.at(index) ?? rate
            channels /= 2
            guard channels > 0 else {
                throw c.error("upsample_initial_channel", "\(firstChannels) cannot be halved \(rates.count) times")
            }
            guard kernel >= rate else {
                throw c.error("upsample_kernel_sizes", "a kernel of \(kernel) leaves gaps at a rate of \(rate)")
            }
            stages.append(Stage(rate: rate, kernel: kernel, channels: channels))
        }
        self.stages = stages
        residuals = try Self.residuals(c)
        slope = Float(try c.number("leaky_relu_slope", in: 0...1, default: 0.1))
        normalises = try c.bool("normalize_before", default: true)
    }

    private static func residuals(_ c: JSONObject) throws(DiffError) -> [Residual] {
        let kernels = try c.integers("resblock_kernel_sizes", in: 1...255, default: [3, 7, 11])
        let published = JSON.array([1, 3, 5])
        let lists = try c.array("resblock_dilation_sizes", default: [published, published, published])
        guard (1...16).contains(kernels.count), lists.count == kernels.count else {
            throw c.error(
                "resblock_dilation_sizes",
                "\(lists.count) lists for \(kernels.count) resblock_kernel_sizes; 1 to 16 of both")
        }
        var residuals: [Residual] = []
        for (index, kernel) in kernels.numbered {
            guard kernel % 2 == 1 else {
                throw c.error(
                    "resblock_kernel_sizes", "\(kernel): only odd kernels give as many rows as they are given")
            }
            let list: [JSON] = if case .array(let values)? = lists.at(index) { values } else { [] }
            var dilations: [Int] = []
            for value in list.each {
                if let dilation = value.asInteger, (1...1024).contains(dilation) { dilations.append(dilation) }
            }
            guard dilations.count == list.count, (1...16).contains(list.count) else {
                throw c.error("resblock_dilation_sizes[\(index)]", "expected a list of 1 to 16 integers in 1...1024")
            }
            residuals.append(Residual(kernel: kernel, dilations: dilations))
        }
        return residuals
    }

    /// Samples of a waveform for `frames` frames: a few more than the rates say, where a kernel and its rate differ by an odd number. Nil
    /// for more than can be.
    public func samples(frames: Int) -> Int? {
        var rows: Int? = frames
        for stage in stages.each { rows = rows.flatMap { stage.length($0) } }
        return rows
    }

    /// Samples for each frame.
    public var factor: Int { stages.each.reduce(1) { Checked.multiply($0, $1.rate) ?? Shape.maxCount } }
    /// Convolutions with tensors of their own.
    var parts: Int {
        let each = residuals.each.reduce(1) { $0 &+ 2 &* $1.dilations.count }  // 16 of 16 at most
        return 2 &+ stages.count &* each
    }
}

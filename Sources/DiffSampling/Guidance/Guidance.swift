public import DiffTensor

/// Classifier-free guidance as a sampler does it: how the conditional prediction c and the unconditional one u of a call become one, and how the
/// two are evaluated.
///
/// It belongs to the sampler and stays outside of the hooks: methods see network calls, of one batch or of two lanes, and never what is made
/// of their outputs. How predictions are evaluated changes no bit of the result.
/// Source: Ho and Salimans 2022, arXiv 2207.12598.
public struct Guidance: Sendable, Equatable {
    /// What a scale means, and in which order the arithmetic is done, which decides the last bit.
    public enum Formula: Sendable, Equatable {
        /// u + s (c - u), whose scale s is 1 without guidance: denoisers, as in diffusers and DiT.
        case scaled
        /// u + (t + 1) (c - u), whose scale t is 0 without guidance: LLaDA.
        case added
        /// (1 + t) c - t u, whose scale t is 0 without guidance: VAR.
        case extrapolated

        /// The scale that leaves c.
        public var neutral: Double { self == .scaled ? 1 : 0 }
    }

    /// Which channels of [n, channels, h, w], or of frames [n, frames, channels, h, w], are guided.
    public enum Channels: Sendable, Equatable {
        /// All; predictions may have any shape.
        case all
        /// The first ones, this many: the official DiT guides three of four. Those after them (a learned variance too) stay those of c.
        case leading(Int)
        /// The first ones, each by a scale of its own in place of ``Guidance/scale``.
        case scales([Double])
    }

    /// How the two predictions of a call are evaluated.
    public enum Execution: String, Sendable, CaseIterable {
        /// In one network call of twice the rows, conditional ones first.
        case batched
        /// In two network calls, one after the other: half the memory of activations.
        case lanes
        /// In two network calls side by side, each on a half of the threads (a fork of the run).
        case split
        /// Like ``batched``, the rows of every call being shared by the processes of the run, those of several samples too.
        case ranks
    }

    /// What the scale means.
    public let formula: Formula
    /// How far beyond the unconditional prediction; see ``Formula``.
    public let scale: Double
    /// What is guided.
    public let channels: Channels
    /// How the scale changes over the steps or the frames.
    public let ramp: GuidanceRamp
    /// How much of the guided prediction is brought to the standard deviation of the conditional one, 0 (nothing) to 1: Lin et al. 2023.
    public let rescale: Double
    /// The part of the run in which there is guidance.
    public let interval: GuidanceInterval
    /// How the predictions are evaluated.
    public let execution: Execution

    /// The guidance of these settings. Throws `invalidArgument` for a scale that is negative or not finite, a `rescale` outside 0 ... 1, and
    /// what cannot go together: rescaling, channels and frames are for predictions (``Formula/scaled``), frames have one scale for all channels.
    public init(
        _ formula: Formula = .scaled, scale: Double, channels: Channels = .all, ramp: GuidanceRamp = .none,
        rescale: Double = 0, interval: GuidanceInterval = .always, execution: Execution = .batched
    ) throws(DiffError) {
        guard scale.isFinite, scale >= 0 else {
            throw DiffError(.invalidArgument, "guidance must be 0 or more, found \(scale)")
        }
        guard (0...1).contains(rescale) else {
            throw DiffError(.invalidArgument, "guidance_rescale must be 0...1, found \(rescale)")
        }
        guard formula == .scaled || rescale == 0 && channels == .all && !ramp.isOverFrames else {
            throw DiffError(
                .invalidArgument, "guidance_rescale, guidance_channels and scales of frames are for denoisers")
        }
        switch channels {
        case .all: break
        case .leading(let count):
            guard count >= 1 else {
                throw DiffError(.invalidArgument, "guidance_channels must be 1 or more, found \(count)")
            }
        case .scales(let scales):
            guard !scales.isEmpty, scales.allSatisfy({ $0.isFinite && $0 >= 0 }), !ramp.isOverFrames else {
                throw DiffError(
                    .invalidArgument,
                    "scales of channels must be 0 or more, at least one, and not change over frames, found \(scales)")
            }
        }
        try ramp.check()
        (self.formula, self.scale, self.channels, self.ramp) = (formula, scale, channels, ramp)
        (self.rescale, self.interval, self.execution) = (rescale, interval, execution)
    }

    /// The largest scale at `step` of `steps`; nil where the conditional prediction stands alone: outside of the interval, and where scales are
    /// neutral.
    public func scale(at step: Int, of steps: Int) -> Double? {
        guard interval.contains(step, of: steps) else { return nil }
        let (neutral, all) = (formula.neutral, scales)
        guard let factor = ramp.factor(at: step, of: steps) else {
            return all.each.allSatisfy { $0 == neutral } ? nil : all.max()
        }
        let found = all.each.map { neutral + ($0 - neutral) * factor }
        return found.each.allSatisfy { $0 == neutral } ? nil : found.max()
    }

    /// All scales that occur, before a ramp over steps.
    private var scales: [Double] {
        if case .scales(let scales) = channels { return scales }
        if case .frames(let first) = ramp { return [first, scale] }
        return [scale]
    }

    /// What methods are told of it.
    public var context: SamplingContext.Guidance {
        switch execution {
        case .batched: .batched
        case .lanes: .lanes
        case .split: .split
        case .ranks: .ranks
        }
    }

    /// Lanes of state: one where both predictions share a batch.
    public var lanes: Int { isBatched ? 1 : 2 }

    private var isBatched: Bool { execution == .batched || execution == .ranks }

    /// Rows of a network call for `samples`.
    public func rows(_ samples: Int) -> Int { isBatched ? Checked.sum(samples, samples) : samples }
}

public import DiffCheckpoint
public import DiffTensor

/// What happened in a network call, reported during the run: a few numbers, and tensors by name.
public struct SampleEvent: Sendable {
    /// What the run is doing.
    public enum Stage: Int32, Sendable, CaseIterable {
        case denoise = 0
        case decode = 1
        case scale = 2
        case unmask = 3
        case encode = 4
        case vocode = 5

        /// The name in JSON.
        public var name: String {
            switch self {
            case .denoise: "denoise"
            case .decode: "decode"
            case .scale: "scale"
            case .unmask: "unmask"
            case .encode: "encode"
            case .vocode: "vocode"
            }
        }
    }

    /// What the run is doing.
    public let stage: Stage
    /// Network calls done in this stage (1 ... steps), and how many there are: a bound where the sampler decides on the way. Of decoders
    /// samples, and of vocoders the values of all sounds.
    public let step: Int, steps: Int
    /// Share of the whole run's arithmetic that is done, 0 ... 1, decoding included; of a bound where the sampler decides on the way.
    public let fraction: Double
    /// Seconds since the run began.
    public let seconds: Double
    /// The original timestep of the call just made, the side of its scale, or the tokens of a picture that it leaves unknown; nil while decoding.
    public var timestep: Double?
    /// Attention and MLP outputs of this call, and its floating-point operations.
    public var sites = SiteCounts(), flops = 0.0
    /// Which of the session's networks ran.
    public var network = 0
    /// State after the call [n, C, h, w]; valid during the call.
    public var latents: Tensor?
    /// The image that the state decodes to so far, when the request asks for previews.
    public var preview: ImageBatch?
    /// What a language model's pass revealed.
    public var text: TextEvent?
    /// The stretch of sound that a vocoder just finished.
    public var audio: AudioStretch?

    /// Names of the tensors that ``tensor(_:)`` has now.
    public var tensorNames: [String] {
        (latents == nil ? [] : ["latents"]) + (preview == nil ? [] : ["preview"])
            + (audio == nil ? [] : ["audio", "audio_place"])
            + (text == nil ? [] : ["sequences", "lengths", "prompts", "queries", "revealed"])
    }

    /// A tensor of the current state, valid during the call. Throws `invalidArgument`, naming those there are.
    ///
    /// `latents` [n, C, h, w] f32; `preview` [n, H, W, C] u8. Of sounds, while the vocoder goes on: `audio` [count] f32, the next values of
    /// one of them, and `audio_place` [2] i64, its number and where in it they begin. Of language models, for the texts that took part in the pass, i64:
    /// `sequences`, prompts and texts with their masks one after the other, with `lengths` [texts]; `prompts` [texts], the number of each
    /// one's prompt; `queries` [texts], positions computed; and `revealed` [k, 2], the prompt and the position of each token written, in
    /// the order of revelation.
    public func tensor(_ name: String) throws(DiffError) -> ResultTensor {
        if let audio {
            if name == "audio" { return ResultTensor("audio", audio.samples) }
            if name == "audio_place" { return try Self.list("audio_place", [audio.waveform, audio.first]) }
        }
        switch (name, latents, preview, text) {
        case ("latents", let state?, _, _): return ResultTensor("latents", state)
        case ("preview", _, let picture?, _): return try ResultTensor("preview", picture)
        case ("sequences", _, _, let text?): return try Self.list("sequences", text.texts.flattened { $0.sequence })
        case ("lengths", _, _, let text?): return try Self.list("lengths", text.texts.map(\.sequence.count))
        case ("prompts", _, _, let text?): return try Self.list("prompts", text.texts.map(\.prompt))
        case ("queries", _, _, let text?): return try Self.list("queries", text.texts.map(\.queries))
        case ("revealed", _, _, let text?):
            var pairs: [Int] = []
            for one in text.texts.each {
                for position in one.revealed.each {
                    pairs.append(one.prompt)
                    pairs.append(position)
                }
            }
            return try ResultTensor("revealed", pairs, Shape(pairs.count / 2, 2), budget: nil)
        default:
            let names = tensorNames.isEmpty ? "none" : tensorNames.joined(separator: ", ")
            throw DiffError(.invalidArgument, "the event has no tensor \"\(name.prefix(60))\"; it has \(names)")
        }
    }

    private static func list(_ label: StaticString, _ values: [Int]) throws(DiffError) -> ResultTensor {
        try ResultTensor(label, values, Shape(values.count), budget: nil)
    }

    /// The event as JSON: `stage`, `step`, `steps`, `fraction`, `seconds`, `timestep`, `network`, `computed`, `reused`, `skipped`, `flops`,
    /// `tensors`.
    public var json: JSON {
        .object([
            "stage": .string(stage.name), "step": .integer(step), "steps": .integer(steps),
            "fraction": .number(fraction),
            "seconds": .number(seconds), "timestep": timestep.map { .timestep($0) } ?? .null,
            "network": .integer(network), "computed": .integer(sites.computed), "reused": .integer(sites.reused),
            "skipped": .integer(sites.skipped), "flops": .number(flops),
            "tensors": .array(tensorNames.map { .string($0) }),
        ])
    }
}

/// A finished stretch of a sound.
public struct AudioStretch: Sendable {
    /// Number of the sound among those of the run.
    public let waveform: Int
    /// Where it begins in the sound.
    public let first: Int
    /// Its values, [count], valid during the call.
    public let samples: Tensor
}

/// What a pass over a batch of texts revealed.
public struct TextEvent: Sendable {
    /// One text that took part.
    public struct Text: Sendable {
        /// Number of the prompt.
        public let prompt: Int
        /// Tokens of the prompt and of the text, masks included.
        public let sequence: [Int]
        /// Positions written in this pass, in the order of revelation.
        public let revealed: [Int]
        /// Positions that the network computed in this pass.
        public let queries: Int
    }

    /// The texts that took part.
    public let texts: [Text]
    /// Rows that the network computed and rows that went through its head.
    public let queryRows: Int, headRows: Int
}

/// How many attention and MLP outputs were computed, reused, and not needed.
public struct SiteCounts: Sendable, Equatable {
    public var computed: Int, reused: Int, skipped: Int

    /// These counts.
    public init(computed: Int = 0, reused: Int = 0, skipped: Int = 0) {
        (self.computed, self.reused, self.skipped) = (computed, reused, skipped)
    }

    /// Adds the counts of another step or run.
    public static func += (total: inout SiteCounts, more: SiteCounts) {
        total.computed &+= more.computed
        total.reused &+= more.reused
        total.skipped &+= more.skipped
    }
}

/// Whether a run continues after an event.
public enum SampleDecision: Sendable {
    case `continue`, cancel
}

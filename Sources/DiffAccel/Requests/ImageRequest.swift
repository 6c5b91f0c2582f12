import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// How a state becomes pixels.
enum Tiling: Sendable, Equatable {
    /// Whole images, or tiles when the memory limit asks for them.
    case automatic
    case never
    /// Tiles of this side in latents.
    case side(Int)

    /// The option that says so.
    static let option = OptionSpec(
        "tile", .either([.choice(["auto", "never"]), .integer(8...4096)]), default: "auto",
        "Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them."
    )

    init(_ options: Options) throws(DiffError) {
        if case .string(let word)? = options.json.value("tile") {
            self = word == "never" ? .never : .automatic
        } else {
            self = options.has("tile") ? .side(try options.get("tile")) : .automatic
        }
    }

    /// The side that was asked for.
    var side: Int? { if case .side(let side) = self { side } else { nil } }
}

/// Options that requests of several kinds have.
enum CommonOptions {
    static let decode = OptionSpec(
        "decode", .flag, default: true, "Whether the final state is decoded to images, where the model can.")

    static let seed = OptionSpec(
        "seed", .integer(0...Int.max), default: 0, "Seed of the random numbers, as in torch.manual_seed on the CPU."
    )

    static let labelsTensor = TensorSpec("labels", .i64, "[n]", "A class for each sample, instead of the option.")

    /// One sample for each class of `classes`, by number or name; of an unconditional model 0 for each sample.
    static func labels(_ classes: ClassNames, rows: Int) -> OptionSpec {
        // A name is taken also where there are none: the error then says so.
        let element = OptionType.either([.integer(0...max(0, rows &- 1)), .text])
        let type = OptionType.either([element, .list(element, 1...SampleRequest.maxSamples)])
        guard rows > 1 else {
            return OptionSpec("labels", type, default: [0], "0 for each sample wanted: the model has no classes.")
        }
        return OptionSpec(
            "labels", type,
            classes.isEmpty ? "The class of each sample." : "The class of each sample, by number or by name.")
    }

    /// The labels of a request, names looked up. Throws `invalidArgument`.
    static func labels(_ reader: RequestReader, _ classes: ClassNames, below rows: Int) throws(DiffError) -> [Int] {
        var labels: [Int] = []
        if let given = reader.integers("labels") {
            guard (1...SampleRequest.maxSamples).contains(given.values.count) else {
                throw DiffError(
                    .invalidArgument,
                    "a request needs 1...\(SampleRequest.maxSamples) labels, found \(given.values.count)")
            }
            labels = given.values
        } else {
            let value = reader.options.json.value("labels") ?? [0]
            var elements = [value]
            if case .array(let list) = value { elements = list }
            for element in elements.each {
                if case .string(let name) = element {
                    labels.append(try classes.index(of: name))
                } else {
                    labels.append(element.asInteger ?? 0)
                }
            }
        }
        for (index, label) in labels.numbered where label < 0 || label >= rows {
            throw DiffError(.invalidArgument, "label \(label) at position \(index) is outside 0..<\(rows)")
        }
        return labels
    }
}

/// A request for images from a class-conditional denoiser, read and in range.
struct ImageRequest: Sendable {
    /// The number of sampling steps where nothing says another one.
    static let defaultSteps = 50
    /// As ``guidanceChannels``: every epsilon channel (diffusers guides all, the official DiT three).
    static let allChannels = -1

    /// One of the solver's samplers, or the class of diffusers that it is; nil: the model's own.
    let sampler: String?
    /// Number of sampling steps; nil: the sum of the counts of ``spacing``, else what the plan's router was learned for.
    let steps: Int?
    /// How timesteps are spaced; nil: as the model's scheduler or conventions say.
    let spacing: String?
    /// Added to every timestep of the `leading` spacing; 0: what the model's scheduler says.
    let stepsOffset: Int
    /// DDIM's noise, 0 (deterministic) to 1.
    let eta: Double
    let seed: UInt64
    let labels: [Int]
    /// Classifier-free guidance scale; nil: the model's own.
    let guidance: Double?
    /// Epsilon channels that are guided, or ``allChannels``; nil: the model's own.
    let guidanceChannels: Int?
    /// How far the guided prediction is rescaled, where guidance works, and how it is computed.
    let guidanceRescale: Double, guidanceInterval: [Double], guidanceExecution: String
    let decode: Bool
    let tiling: Tiling

    /// The form of requests to `network` under `solver`.
    static func form(
        _ network: any Denoiser, _ solver: any ImageSolver, _ classes: ClassNames, guidance: Double,
        guidanceChannels: Int
    ) -> RequestForm {
        let side = network.side
        let state = "\(network.channels), \(side), \(side)]"
        var options = [
            CommonOptions.labels(classes, rows: max(1, network.classRows)),
            OptionSpec(
                "steps", .integer(1...SampleRequest.maxSteps),
                absent: "what the plan's router was learned for, else \(defaultSteps)", "Number of sampling steps."),
            OptionSpec(
                "sampler", .choice(solver.samplerNames), absent: solver.standard,
                "The sampler, by its name or by its class in diffusers."),
        ]
        options += solver.options
        options += [
            OptionSpec(
                "guidance", .number(0...1000), default: .number(network.nullClass == nil ? 1 : guidance),
                "Classifier-free guidance scale; 1 or less: none."),
            OptionSpec(
                "guidance_channels", .either([.choice(["all"]), .integer(1...max(1, network.channels))]),
                default: .integer(guidanceChannels), "How many channels are guided, counted from the first."),
            OptionSpec(
                "guidance_rescale", .number(0...1), default: 0,
                "How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et al. "
                    + "2023); 0: not at all."
            ),
            OptionSpec(
                "guidance_interval", .list(.number(0...1), 2...2), default: [0, 1],
                "Part of the run in which guidance applies, as fractions of its steps; outside only the conditional "
                    + "prediction is used."
            ),
            OptionSpec(
                "guidance_execution", .choice(Guidance.Execution.allCases.map(\.rawValue)),
                default: .string(Guidance.Execution.batched.rawValue),
                "How the two predictions are computed, bit for bit the same: in one batch, one after the other, or side "
                    + "by side on parts of the threads."),
            CommonOptions.seed, CommonOptions.decode, Tiling.option,
        ]
        let tensors = [
            CommonOptions.labelsTensor,
            TensorSpec("noise", .f32, "[n, \(state)", "The initial noise, instead of that of the seed."),
            TensorSpec(
                "step_noise", .f32, "[draws, n, \(state)",
                "The noise that steps add, in the order of use; ddim and ddpm draw once a step."),
        ]
        return RequestForm(options: options, tensors: tensors)
    }

    /// The request that `reader` checked.
    init(_ reader: RequestReader, _ classes: ClassNames, _ network: any Denoiser) throws(DiffError) {
        let options = reader.options
        labels = try CommonOptions.labels(reader, classes, below: max(1, network.classRows))
        steps = try options.optional("steps")
        sampler = try options.optional("sampler")
        spacing = options.declares("spacing") ? try options.optional("spacing") : nil
        stepsOffset = options.declares("steps_offset") ? try options.get("steps_offset") : 0
        eta = options.declares("eta") ? try options.get("eta") : 0
        guidance = options.has("guidance") ? try options.get("guidance") : nil
        if !options.has("guidance_channels") {
            guidanceChannels = nil
        } else if case .string? = options.json.value("guidance_channels") {
            guidanceChannels = Self.allChannels
        } else {
            guidanceChannels = try options.get("guidance_channels")
        }
        guidanceRescale = try options.get("guidance_rescale")
        guidanceInterval = try options.get("guidance_interval")
        guidanceExecution = try options.get("guidance_execution")
        seed = try options.get("seed")
        decode = try options.get("decode")
        tiling = try Tiling(options)
    }
}

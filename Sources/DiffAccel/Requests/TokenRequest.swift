import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// What the config of a MAR says about sampling, and what holds where it says nothing: the published programs' settings.
struct TokenSettings: Sendable {
    /// Iterations, `num_iter`.
    let iterations: Int
    /// Guidance, `cfg`, and how it changes, `cfg_schedule`.
    let guidance: Double, schedule: TokenGuidanceSchedule
    /// What the noise of the head's steps is multiplied by.
    let temperature: Double
    /// Steps of the head, `num_sampling_steps`: "100", "ddim10" or counts per section such as "10,15,25".
    let headSteps: String

    /// Those of `config`, or of its object `sampling`. Throws `format`.
    init(_ config: JSONObject, _ c: MARConfiguration) throws(DiffError) {
        let sampling = try config.optionalObject("sampling") ?? config
        iterations = try sampling.integer("num_iter", in: 1...TokenIteration.maxIterations, default: 64)
        // The authors' for their figures.
        let usual = c.encoder.width == 768 ? 2.9 : c.encoder.width == 1280 ? 3.2 : 3
        guidance = try sampling.number("cfg", in: 0...1000, default: usual)
        let names = TokenGuidanceSchedule.allCases.map(\.rawValue)
        schedule =
            try sampling.optionalString("cfg_schedule", oneOf: names).flatMap(TokenGuidanceSchedule.init(rawValue:))
            ?? .linear
        temperature = try sampling.number("temperature", in: 0...1000, default: 1)
        let place = config.has("num_sampling_steps") ? config : sampling
        let steps = place.value("num_sampling_steps")?.asInteger.map(String.init)
        headSteps = if let steps { steps } else { try place.optionalString("num_sampling_steps") ?? "100" }
        do { _ = try Self.spacing(headSteps) } catch { throw place.error("num_sampling_steps", error.message) }
    }

    /// The timesteps that `text` means. Throws `invalidArgument`.
    static func spacing(_ text: String) throws(DiffError) -> TimestepSpacing {
        let isStrided = text.hasPrefix("ddim")
        var counts: [Int] = []
        for part in String(text.dropFirst(isStrided ? 4 : 0)).pieces(at: ",").each {
            counts.append(part.naturalNumber ?? 0)
        }
        guard let first = counts.first, counts.count <= 1000, counts.allSatisfy({ (1...1000).contains($0) }),
            !isStrided || counts.count == 1
        else {
            throw DiffError(
                .invalidArgument,
                "head_steps must be a number of steps, ddimN or counts per section like 10,15,25; found \"\(text.prefix(60))\""
            )
        }
        let spacing: TimestepSpacing = isStrided ? .strided(first) : .even(counts)
        do { _ = try spacing.timesteps(of: TokenDiffusionSampling.process.trainSteps) } catch {
            throw DiffError(error.code, "head_steps \"\(text.prefix(60))\": \(error.message)")
        }
        return spacing
    }
}

/// A request to a model that makes tokens by diffusion, read and in range.
struct TokenRequest: Sendable {
    let labels: [Int]
    let iterations: Int
    let guidance: Double
    let schedule: TokenGuidanceSchedule
    let temperature: Double
    /// Steps of the head.
    let spacing: TimestepSpacing
    let order: GenerationOrder.Generator
    let seed: UInt64
    let decode: Bool
    let tiling: Tiling
    /// Whether events have the picture that the tokens so far decode to.
    let previews: Bool

    /// The form of requests to a model of this configuration.
    static func form(_ c: MARConfiguration, _ names: ClassNames, _ own: TokenSettings) -> RequestForm {
        let state = "\(c.channels), \(c.side), \(c.side)]"
        let options = [
            CommonOptions.labels(names, rows: c.nullClass &+ 1),
            OptionSpec(
                "steps", .integer(1...TokenIteration.maxIterations), default: .integer(own.iterations),
                "Iterations, each of which predicts some tokens; as many as there are tokens predict one each."),
            OptionSpec(
                "guidance", .number(0...1000), default: .number(own.guidance),
                "Classifier-free guidance scale; 1: none."),
            OptionSpec(
                "guidance_schedule", .choice(TokenGuidanceSchedule.allCases.map(\.rawValue)),
                default: .string(own.schedule.rawValue),
                "Whether guidance grows with the share of tokens that are generated, or is the same in all iterations."),
            OptionSpec(
                "temperature", .number(0...1000), default: .number(own.temperature),
                "What the noise of the head's steps is multiplied by."),
            OptionSpec(
                "head_steps", .either([.integer(1...1000), .text]), default: .string(own.headSteps),
                "Diffusion steps of each token: a number, ddimN, or counts per section such as 10,15,25."),
            OptionSpec(
                "order", .choice(GenerationOrder.Generator.allCases.map(\.rawValue)),
                default: .string(GenerationOrder.Generator.torch.rawValue),
                "Whose random numbers draw the order of the tokens from the seed: torch.randperm, or numpy.random.shuffle as the "
                    + "published code has it."),
            CommonOptions.seed, CommonOptions.decode, Tiling.option,
            OptionSpec(
                "previews", .flag, default: false,
                "Whether events have a preview, the image that the tokens so far decode to; each costs a decoding."),
        ]
        return RequestForm(
            options: options,
            tensors: [
                CommonOptions.labelsTensor,
                TensorSpec(
                    "order", .i64, "[n, \(c.tokens)]",
                    "A permutation of the tokens for each sample, of which the last are generated first, instead of that of the seed."
                ),
                TensorSpec(
                    "noise", .f32, "[n, \(state)", "The start noise of all tokens, instead of that of the seed."),
                TensorSpec(
                    "step_noise", .f32, "[head_steps, n, \(state)",
                    "The noise that the head's steps add, in the order of use; the last is drawn and not used."),
            ])
    }

    /// The request that `reader` checked.
    init(_ reader: RequestReader, _ c: MARConfiguration, _ names: ClassNames) throws(DiffError) {
        let options = reader.options
        labels = try CommonOptions.labels(reader, names, below: c.nullClass &+ 1)
        iterations = try options.get("steps")
        guidance = try options.get("guidance")
        let schedule: String = try options.get("guidance_schedule")
        self.schedule = TokenGuidanceSchedule(rawValue: schedule) ?? .linear
        temperature = try options.get("temperature")
        if let steps = options.json.value("head_steps")?.asInteger {
            spacing = .even([steps])
        } else {
            spacing = try TokenSettings.spacing(options.get("head_steps"))
        }
        let order: String? = options.json.value("order") == nil ? nil : try options.get("order")
        self.order = order.flatMap(GenerationOrder.Generator.init(rawValue:)) ?? .torch
        seed = try options.get("seed")
        decode = try options.get("decode")
        tiling = try Tiling(options)
        previews = try options.get("previews")
    }
}

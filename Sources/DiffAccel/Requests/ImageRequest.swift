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

    /// One seed for the batch, or one for each sample. Throws `invalidArgument` when both are given.
    static func seeds(_ options: Options) throws(DiffError) -> [UInt64] {
        let several: [UInt64] = try options.optional("seeds") ?? []
        guard several.isEmpty || !options.has("seed") else {
            throw options.error("seeds", "seed and seeds are both given; one of them says all")
        }
        return several.isEmpty ? [try options.get("seed")] : several
    }

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
    /// As ``guidanceChannels``: every epsilon channel (diffusers guides all, the official DiT three).
    static let allChannels = -1

    let steps: StepsRequest
    let seed: UInt64
    let labels: [Int]
    /// Classifier-free guidance scale; nil: the model's own.
    let scale: Double?
    /// Epsilon channels that are guided, or ``allChannels``; nil: the model's own.
    let guidanceChannels: Int?
    let guidance: GuidanceRequest
    let decode: Bool
    let tiling: Tiling

    /// The form of requests to `network` under `solver`.
    static func form(
        _ network: any Denoiser, _ solver: any ImageSolver, _ classes: ClassNames, guidance: Double,
        guidanceChannels: Int
    ) -> RequestForm {
        let side = network.side
        let state = "\(network.channels), \(side), \(side)]"
        let own = [
            OptionSpec(
                "guidance", .number(0...1000), default: .number(network.nullClass == nil ? 1 : guidance),
                "Classifier-free guidance scale; 1 or less: none."),
            OptionSpec(
                "guidance_channels", .either([.choice(["all"]), .integer(1...max(1, network.channels))]),
                default: .integer(guidanceChannels), "How many channels are guided, counted from the first."),
        ]
        let groups = [
            [CommonOptions.labels(classes, rows: max(1, network.classRows))],
            StepsRequest.options(solver, defaultSteps: StepsRequest.defaultSteps), own, GuidanceRequest.options,
            [CommonOptions.seed, CommonOptions.decode, Tiling.option],
        ]
        let tensors = [
            CommonOptions.labelsTensor,
            TensorSpec("noise", .f32, "[n, \(state)", "The initial noise, instead of that of the seed."),
            TensorSpec(
                "step_noise", .f32, "[draws, n, \(state)",
                "The noise that steps add, in the order of use; ddim and ddpm draw once a step."),
        ]
        return RequestForm(options: groups.flattened { $0 }, tensors: tensors)
    }

    /// The request that `reader` checked.
    init(_ reader: RequestReader, _ classes: ClassNames, _ network: any Denoiser) throws(DiffError) {
        let options = reader.options
        labels = try CommonOptions.labels(reader, classes, below: max(1, network.classRows))
        steps = try StepsRequest(options)
        scale = options.has("guidance") ? try options.get("guidance") : nil
        if !options.has("guidance_channels") {
            guidanceChannels = nil
        } else if case .string? = options.json.value("guidance_channels") {
            guidanceChannels = Self.allChannels
        } else {
            guidanceChannels = try options.get("guidance_channels")
        }
        guidance = try GuidanceRequest(options)
        seed = try options.get("seed")
        decode = try options.get("decode")
        tiling = try Tiling(options)
    }
}

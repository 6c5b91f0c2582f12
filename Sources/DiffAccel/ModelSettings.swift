public import DiffCheckpoint
public import DiffTensor

/// Settings of how a checkpoint is opened that only some families have. They are JSON on every surface.
public struct ModelSettings: Sendable, Equatable {
    /// A file of low-rank updates, and how much of them is added.
    public struct LoRA: Sendable, Equatable {
        /// The safetensors file.
        public var path: String
        /// Multiplies the update; 1 is as it was trained.
        public var scale: Double

        /// All of the update in the file at `path`, or `scale` of it.
        public init(_ path: String, scale: Double = 1) { (self.path, self.scale) = (path, scale) }
    }

    /// How long text encoders stay in memory.
    public enum TextEncoders: String, Sendable, CaseIterable {
        /// As long as the model.
        case resident
        /// Only while prompts are read; each request loads them again.
        case onDemand = "on_demand"
    }

    /// How many attention heads the network of a pipeline of sounds has.
    public enum Heads: Sendable, Equatable {
        /// As many as its config says, which is how diffusers computes.
        case config
        /// One for so many channels, as the original was trained.
        case channels(Int)

        /// The words `config`, and `channels/32` and the like; nil for others.
        public init?(_ text: String) {
            let word = "channels/"
            guard text != "config" else {
                self = .config
                return
            }
            var digits: [UInt8] = []
            for (place, byte) in Array(text.utf8).numbered where place >= word.utf8.count { digits.append(byte) }
            guard text.hasPrefix(word), let each = Checked.decimal(digits),
                (1...Limits.width).contains(each)
            else { return nil }
            self = .channels(each)
        }
    }

    /// Low-rank updates that are merged into the weights as they are loaded, one after the other.
    public var lora: [LoRA] = []
    /// How long text encoders stay in memory.
    public var textEncoders = TextEncoders.resident
    /// Whether Stable Diffusion 3's third text encoder is loaded; without it its states are zeros, as the model was trained to bear.
    public var usesT5 = true
    /// Which variant of a pipeline's weight files is read, such as `fp16`; nil: the plain files, or the only variant there is.
    public var variant: String?
    /// What the network predicts, where the checkpoint does not say; nil: as it says.
    public var prediction: String?
    /// Folder with the tokenizers of a checkpoint that has none; nil: those of the checkpoint, or the one built in.
    public var tokenizer: String?
    /// How many attention heads the network of a pipeline of sounds has.
    public var heads = Heads.config
    /// The plan, of an executor `mpi`, of whose ranks this process is one: the model has the weights of what the rank computes only. A word or
    /// an object; nil: all weights are loaded.
    public var ranks: JSON?
    /// Whether the other ranks have the decoder too, to share the tiles of pictures, or the pictures of a batch; else rank 0 alone decodes.
    public var ranksDecode = false
    /// How 3 x 3 convolutions, and those of vocoders, are computed.
    public var convolution = ConvolutionMethod.auto

    /// What products of matrices are computed in.
    public var precision = PrecisionChoice.f32

    /// The defaults.
    public init() {}

    /// What can be set.
    public static let options = [
        OptionSpec(
            "lora", .oneOrMore(.either([.text, .object("path, and scale (default 1)")])), absent: "none",
            "Files of low-rank updates (LoRA) that are merged into the weights: a path, or {\"path\", \"scale\"}, or several."
        ),
        OptionSpec(
            "text_encoders", .cases(of: TextEncoders.self), default: .string(TextEncoders.resident.rawValue),
            "Whether text encoders stay in memory or are loaded by each request and given back after it."),
        OptionSpec(
            "t5", .flag, default: true,
            "Whether Stable Diffusion 3's third text encoder is loaded; without it the model follows prompts less well, in a third of the memory."
        ),
        OptionSpec(
            "variant", .text, absent: "the plain files, or the only variant there is",
            "Which variant of a pipeline's weight files is read, such as fp16."),
        OptionSpec(
            "prediction_type", .choice(["epsilon", "v_prediction"]), absent: "as the checkpoint says",
            "What the network predicts, where a single file does not say."),
        OptionSpec(
            "tokenizer", .text, absent: "the checkpoint's, else the one built in",
            "Folder of the tokenizers, of a checkpoint that has none."),
        OptionSpec(
            "heads", .text, default: "config",
            "Attention heads of AudioLDM's networks: config, as diffusers computes, or channels/32 (AudioLDM 2, and s and m of AudioLDM) or channels/64 (l), as the original was trained: published configs have other numbers, which change what is heard."
        ),
        OptionSpec(
            "ranks", .either([.text, .object("a plan, or one of its entries")]), absent: "all weights are loaded",
            "The plan, with the executor mpi, of whose ranks this process is one: only the weights of its own component are loaded, and those of encoders and decoder on rank 0."
        ),
        OptionSpec(
            "ranks_decode", .flag, default: false,
            "Beside ranks: whether all ranks have the decoder, to share the tiles of pictures, or the pictures of a batch."
        ),
        OptionSpec(
            "convolution", .cases(of: ConvolutionMethod.self), default: .string(ConvolutionMethod.auto.rawValue),
            "How 3 x 3 convolutions, and those of vocoders, are computed: by Winograd's transforms where these are faster, always directly, or by the transforms."
        ),
        PrecisionChoice.option,
    ]

    /// Those that are set of the settings that only pipelines have.
    var ofPipelines: [String] {
        var names: [String] = []
        if !lora.isEmpty { names.append("lora") }
        if textEncoders != .resident { names.append("text_encoders") }
        if !usesT5 { names.append("t5") }
        if prediction != nil { names.append("prediction_type") }
        if tokenizer != nil { names.append("tokenizer") }
        if heads != .config { names.append("heads") }
        return names
    }

    /// Throws `unsupported` when one of `names`, which mean nothing to models of the family `family`, is set.
    func refuse(_ names: [String], of family: String) throws(DiffError) {
        guard let name = ofPipelines.each.first(where: { names.contains($0) }) else { return }
        throw DiffError(
            .unsupported, "the setting \"\(name)\" is for other pipelines; this is a model of the family \(family)")
    }

    /// Reads `json`, an object. Throws `invalidArgument` naming the member.
    public init(_ json: JSON) throws(DiffError) {
        let options = try Options(
            JSONObject(json, source: "model settings"), Self.options, code: .invalidArgument)
        var given: [JSON] = []
        if let value = options.json.value("lora") {
            if case .array(let list) = value { given = list } else { given = [value] }
        }
        for (index, one) in given.numbered { lora.append(try Self.update(one, options, index)) }
        textEncoders = try options.getCase("text_encoders")
        usesT5 = try options.get("t5")
        variant = try options.optional("variant")
        prediction = try options.optional("prediction_type")
        tokenizer = try options.optional("tokenizer")
        let heads: String = try options.get("heads")
        guard let known = Heads(heads) else {
            throw options.error("heads", "expected config, or channels/32 and the like, found \"\(heads.prefix(60))\"")
        }
        self.heads = known
        ranks = options.json.value("ranks")
        ranksDecode = try options.get("ranks_decode")
        convolution = try options.getCase("convolution")
        precision = try options.getCase("precision")
    }

    private static func update(_ json: JSON, _ options: Options, _ index: Int) throws(DiffError) -> LoRA {
        if case .string(let path) = json { return LoRA(path) }
        let members = [
            OptionSpec("path", .text, "The safetensors file."),
            OptionSpec("scale", .number(-1000...1000), default: 1, "Multiplies the update."),
        ]
        let one = try Options(
            JSONObject(json, source: options.json.source, path: "lora[\(index)]"), members, code: .invalidArgument)
        return LoRA(try one.get("path"), scale: try one.get("scale"))
    }
}

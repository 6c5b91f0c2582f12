import DiffCheckpoint
import DiffModels
import DiffTensor

/// Class-conditional VAR: the transformer, and the VQ-VAE in its `vae` folder.
struct VARFamily: ModelFamily {
    static let name = "var"
    static let forwardNames = (inputs: ["x", "y"], outputs: ["logits"])

    private let network: VAR
    private let scales: NextScaleSampling
    let classes: ClassNames

    static let rules = VARConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        config.has("patch_nums") && (config.has("depth") || config.has("attn_l2_norm"))
    }

    init(_ opened: Opened) throws(DiffError) {
        let weights = opened.weights
        let configuration = try VARConfiguration(opened.architecture, weights)
        if let assumption = configuration.assumption { opened.ledger.assume(assumption) }
        network = try VAR(configuration, weights)
        classes = try ClassNames(opened, classes: configuration.classes)
        let autoencoder = try VQVAEFamily.decoder(opened, for: configuration)
        // The authors' settings for their figures.
        let sampling = try opened.config.optionalObject("sampling") ?? opened.config
        scales = NextScaleSampling(
            network: network, autoencoder: autoencoder, classes: classes, opening: opened.options,
            guidance: try sampling.number("cfg", in: 0...1000, default: 1.5),
            topK: try sampling.integer("top_k", in: 0...1_000_000, default: 900),
            topP: try sampling.number("top_p", in: 0...1, default: 0.96))
    }

    var layouts: [SiteLayout] { [network.layout] }
    var sampling: (any FamilySampling)? { scales }

    var description: [String: JSON] {
        let c = network.configuration
        let side = JSON.integer(c.schedule.finest)
        return [
            "input": .array([.integer(c.codeChannels), side, side]),
            "config": .object([
                "depth": .integer(c.depth), "embed_dim": .integer(c.width), "num_heads": .integer(c.heads),
                "num_classes": .integer(c.classes), "vocab_size": .integer(c.vocabulary),
                "patch_nums": .array(c.schedule.sides.map { .integer($0) }), "shared_aln": .bool(c.sharesModulation),
                "attn_l2_norm": .bool(c.normalisesHeads),
            ]),
            "guidance": .number(scales.guidance), "top_k": .integer(scales.topK), "top_p": .number(scales.topP),
            "null_class": .integer(c.nullClass), "labels": classes.json,
            "decoder": .string(scales.autoencoder == nil ? "none" : VQVAEFamily.name),
        ]
    }

    var networkIdentity: ObjectIdentifier { ObjectIdentifier(network) }
    var nextScale: NextScaleSampling? { scales }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "logits" }) else {
            throw DiffError(
                .invalidArgument, "no output \"\(wanted.first { $0 != "logits" } ?? "")\"; a VAR has logits")
        }
        return ["logits": try network(inputs.tensor("x"), labels: inputs.integers("y"), run)]
    }
}

/// The multi-scale VQ-VAE as a model of its own: images to tokens and back.
struct VQVAEFamily: ModelFamily {
    static let name = "vqvae"
    static let forwardNames = (
        inputs: ["image", "state", "tokens"], outputs: ["image", "state", "tokens", "features"]
    )

    let autoencoder: VQVAE

    static let rules = VQVAEConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        config.has("share_quant_resi") || (config.has("ch_mult") && config.has("z_channels"))
    }

    init(_ opened: Opened) throws(DiffError) {
        let weights = opened.weights
        autoencoder = try VQVAE(VQVAEConfiguration(opened.architecture, weights), weights)
    }

    /// Sizes of the VQ-VAE in `checkpoint`, the decoder of the model `opened`. Throws `incompatible` when its codes are not those of
    /// `c`.
    static func configuration(
        _ checkpoint: Checkpoint, of opened: Opened, for c: VARConfiguration
    ) throws(DiffError) -> VQVAEConfiguration {
        // The published file comes without a config: its shapes tell everything but what is the same in all published ones.
        let source =
            checkpoint.config == nil
            ? try JSONObject(.object([:]), source: checkpoint.path) : try checkpoint.configuration
        let config = try opened.entered(source, as: "vae/config.json", VQVAEConfiguration.rules)
        let configuration = try VQVAEConfiguration(config.optionalObject("model") ?? config, checkpoint.weights())
        guard configuration.vocabulary == c.vocabulary, configuration.codeChannels == c.codeChannels else {
            throw DiffError(
                .incompatible,
                "the VQ-VAE has \(configuration.vocabulary) codes of \(configuration.codeChannels) channels, the model "
                    + "\(c.vocabulary) of \(c.codeChannels)")
        }
        return configuration
    }

    /// The VQ-VAE of a model, for the scales of `c`; nil when there is none.
    static func decoder(_ opened: Opened, for c: VARConfiguration) throws(DiffError) -> VQVAE? {
        guard let checkpoint = try opened.autoencoder() else { return nil }
        return try VQVAE(
            configuration(checkpoint, of: opened, for: c), Weights(checkpoint.tensors, options: opened.loading),
            schedule: c.schedule)
    }

    var layouts: [SiteLayout] { [autoencoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(autoencoder) }

    var description: [String: JSON] {
        let c = autoencoder.configuration
        return [
            "config": .object([
                "vocab_size": .integer(c.vocabulary), "z_channels": .integer(c.codeChannels),
                "patch_nums": .array(autoencoder.codes.schedule.sides.map { .integer($0) }),
            ]),
            "encoder": .bool(autoencoder.hasEncoder),
        ]
    }

    func evaluate(dry run: Run) throws(DiffError) {
        let side = autoencoder.codes.schedule.finest
        _ = try autoencoder.decode(
            run.workspace.take(Shape(1, autoencoder.configuration.codeChannels, side, side)), run)
    }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        var outputs: [String: Tensor] = [:]
        var encoded: (tokens: [[Int]], states: [Tensor])?
        for name in wanted {
            if name == "features" {
                outputs.put(try autoencoder.encode(inputs.tensor("image"), run), for: name)
                continue
            }
            guard Self.forwardNames.outputs.contains(name) else {
                throw DiffError(
                    .invalidArgument, "no output \"\(name)\"; a VQ-VAE has image, state, tokens and features")
            }
            let known = if let encoded { encoded } else { try codes(of: inputs, run) }
            encoded = known
            guard let state = known.states.last else { throw DiffError(.internal, "no state") }
            switch name {
            case "tokens": outputs.put(try joined(known.tokens, samples: state.shape[0], run), for: name)
            case "image": outputs.put(try autoencoder.decode(state, run), for: name)
            default: outputs.put(state, for: name)
            }
        }
        return outputs
    }

    /// Tokens and state of what was given: a state, tokens [n · all scales], or an image.
    private func codes(of inputs: NamedInputs, _ run: Run) throws(DiffError) -> (tokens: [[Int]], states: [Tensor]) {
        let codes = autoencoder.codes
        if inputs.tensors["state"] != nil { return ([], [try inputs.tensor("state")]) }
        guard inputs.integers["tokens"] != nil else {
            return try codes.encode(autoencoder.encode(inputs.tensor("image"), run), run)
        }
        let tokens = try inputs.integers("tokens")
        let schedule = codes.schedule
        let each = max(1, schedule.tokens)
        guard !tokens.isEmpty, tokens.count % each == 0 else {
            throw DiffError(.shape, "\(tokens.count) tokens, expected a multiple of \(schedule.tokens)")
        }
        let samples = tokens.count / each
        var parts: [[Int]] = []
        for scale in Indices(below: schedule.count) {
            var part: [Int] = []
            for sample in Indices(below: samples) {
                for index in Indices(below: schedule.length(scale)) {
                    part.append(tokens.at(sample &* schedule.tokens &+ schedule.offset(scale) &+ index) ?? 0)
                }
            }
            parts.append(part)
        }
        return (parts, try codes.states(parts, run))
    }

    /// Tokens of all scales as whole numbers in f32, [n, tokens].
    private func joined(_ tokens: [[Int]], samples: Int, _ run: Run) throws(DiffError) -> Tensor {
        let schedule = autoencoder.codes.schedule
        guard tokens.count == schedule.count else {
            throw DiffError(.invalidArgument, "tokens come from an image; a state was given")
        }
        var values = [Float](repeating: 0, count: samples &* schedule.tokens)
        for (scale, part) in tokens.numbered {
            let length = max(1, schedule.length(scale))
            for (index, token) in part.numbered {
                let position = index / length &* schedule.tokens &+ schedule.offset(scale) &+ index % length
                values.put(Float(token), at: position)
            }
        }
        return try run.tensor(values, Shape(samples, schedule.tokens))
    }
}

import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Class-conditional MAR: encoder, decoder and head, and the autoencoder in its `vae` folder.
struct MARFamily: ModelFamily {
    static let name = "mar"
    static let forwardNames = (inputs: ["latents", "mask", "y", "x", "t", "z"], outputs: ["z", "encoded", "out"])

    /// Latents are 1 / 0.2325 times as wide as those of the published autoencoder.
    private static let scale = 0.2325

    private let network: MAR
    private let tokens: TokenDiffusionSampling
    let classes: ClassNames

    static let rules = MARConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        config.has("diffloss_w") || config.has("diffloss_d") || config.has("encoder_embed_dim")
    }

    init(_ opened: Opened) throws(DiffError) {
        let weights = opened.weights
        let configuration = try MARConfiguration(opened.architecture, weights)
        if let assumption = configuration.assumption { opened.ledger.assume(assumption) }
        network = try MAR(configuration, weights)
        classes = try ClassNames(opened, classes: configuration.classes)
        tokens = TokenDiffusionSampling(
            network: network,
            decoder: try LatentDecoder.beside(opened, channels: configuration.channels, scale: Self.scale),
            classes: classes, own: try TokenSettings(opened.config, configuration))
    }

    var layouts: [SiteLayout] { [network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(network) }
    var sampling: (any FamilySampling)? { tokens }

    var description: [String: JSON] {
        let c = network.configuration
        let side = JSON.integer(c.side)
        return [
            "input": .array([.integer(c.channels), side, side]),
            "config": .object([
                "encoder_depth": .integer(c.encoder.depth), "encoder_embed_dim": .integer(c.encoder.width),
                "encoder_num_heads": .integer(c.encoder.heads), "decoder_depth": .integer(c.decoder.depth),
                "decoder_embed_dim": .integer(c.decoder.width), "decoder_num_heads": .integer(c.decoder.heads),
                "diffloss_d": .integer(c.headDepth), "diffloss_w": .integer(c.headWidth),
                "tokens": .integer(c.tokens), "buffer_size": .integer(c.buffer), "patch_size": .integer(c.patchSize),
                "num_classes": .integer(c.classes),
            ]),
            "sampler": .string("mar"), "guidance": .number(tokens.own.guidance),
            "guidance_schedule": .string(tokens.own.schedule.rawValue),
            "temperature": .number(tokens.own.temperature), "head_steps": .string(tokens.own.headSteps),
            "null_class": .integer(c.nullClass), "labels": classes.json,
            "decoder": .string(tokens.decoder?.name ?? "none"),
        ]
    }

    /// `latents`, `mask` (1 where a token is unknown) and `y` give what the encoder makes of them (`encoded`) and what the decoder says about
    /// every token (`z`); noisy tokens `x`, times `t` and `z` give the head's prediction (`out`).
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        var outputs: [String: Tensor] = [:]
        var encoded: (x: Tensor, pass: MARPass)?
        for name in wanted.each {
            switch name {
            case "out": outputs.put(try predicted(inputs, run), for: name)
            case "z", "encoded":
                let known = if let encoded { encoded } else { try self.encoded(inputs, run) }
                encoded = known
                outputs.put(name == "z" ? try network.decoder(known.x, known.pass, run) : known.x, for: name)
            default: throw DiffError(.invalidArgument, "no output \"\(name)\"; a MAR has z, encoded and out")
            }
        }
        return outputs
    }

    private func encoded(_ inputs: NamedInputs, _ run: Run) throws(DiffError) -> (x: Tensor, pass: MARPass) {
        let c = network.configuration
        let latents = try inputs.tensor("latents")
        guard latents.shape == (try Shape(latents.shape[0], c.channels, c.side, c.side)) else {
            throw DiffError(.shape, "latents \(latents.shape), expected [n, \(c.channels), \(c.side), \(c.side)]")
        }
        let x = try run.patchify(latents, patch: c.patchSize)
        guard let mask = try inputs.mask("mask") else {
            throw DiffError(.invalidArgument, "the input \"mask\" (i64) is missing: 1 where a token is unknown")
        }
        var known: [[Int]] = []
        for row in mask.each {
            guard row.count == c.tokens else {
                throw DiffError(.shape, "a mask of \(row.count) tokens, the model has \(c.tokens)")
            }
            known.append(Self.known(row))
        }
        let labels = try inputs.integers("y")
        for label in labels.each where label < 0 || label > c.nullClass {
            throw DiffError(.invalidArgument, "label \(label) is outside 0...\(c.nullClass)")
        }
        let pass = try MARPass(known: known, wanted: nil, tokens: c.tokens)
        return (try network.encoder(x, pass, labels: labels, run), pass)
    }

    /// Where `mask` is not set.
    @inline(never)
    private static func known(_ mask: [Bool]) -> [Int] {
        var positions: [Int] = []
        for position in Indices(below: mask.count) where mask.at(position) == false { positions.append(position) }
        return positions
    }

    private func predicted(_ inputs: NamedInputs, _ run: Run) throws(DiffError) -> Tensor {
        let (x, t, z) = (try inputs.tensor("x"), try inputs.tensor("t"), try inputs.tensor("z"))
        guard t.shape.rank == 1, t.shape[0] == x.shape[0], z.shape.rows == x.shape[0], x.shape.rank == 2,
            z.shape.last == network.configuration.decoder.width
        else {
            throw DiffError(
                .shape,
                "the head's x \(x.shape), t \(t.shape) and z \(z.shape); expected [n, \(network.configuration.tokenWidth)], [n] "
                    + "and [n, \(network.configuration.decoder.width)]")
        }
        let head = network.head
        let y = try run.add(head.times(t, run), head.conditions(z, run))
        return try head(x, head.modulations(of: y, run), rows: x.shape[0], run)
    }
}

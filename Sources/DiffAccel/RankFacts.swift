import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor

/// What ranks that work on one run have to have in common, each as a name and a value: see ``RankRunOptions/facts``.
enum RankFacts {
    /// Those of `model`, with fingerprints of its files.
    static func of(_ model: Model) throws(DiffError) -> [(name: String, value: String)] {
        let (path, options) = (model.path, model.options)
        var files = Fingerprint()
        try checkpoint(path, options, into: &files)
        if let decoder = options.decoder { try checkpoint(decoder, options, into: &files) }
        if let tokenizer = options.settings.tokenizer {
            try Checkpoint.addTexts(of: Directory(path: tokenizer, followingLinks: options.followLinks), to: &files)
        }
        var updates = Fingerprint()
        for update in options.settings.lora.each {
            try LoRAFile.open(update.path, followingLinks: options.followLinks).addFingerprint(to: &updates)
            updates.add(update.scale.description)
        }
        let settings = options.settings
        return [
            ("version of the library", Library.version), ("checkpoint", files.text), ("LoRA", updates.text),
            (
                "setting of the model",
                "weights \(options.weights.rawValue), convolution \(settings.convolution.rawValue), "
                    + "precision \(options.precision.rawValue), t5 \(settings.usesT5), "
                    + "prediction_type \(settings.prediction ?? "as stored"), conventions \(options.conventions ?? "as stored"), "
                    + "shared decoding \(options.companions.sharesDecoding)"
            ),
        ]
    }

    private static func checkpoint(
        _ path: String, _ options: ModelOptions, into fingerprint: inout Fingerprint
    ) throws(DiffError) {
        if let config = options.config { fingerprint.add(config.serialized()) }
        try Checkpoint.open(
            path: path, config: options.config, followingLinks: options.followLinks, variant: options.settings.variant
        ).addFingerprint(to: &fingerprint)
    }

    /// Those of one run.
    static func of(_ plan: Plan, _ request: SampleRequest) -> [(name: String, value: String)] {
        var tensors = Fingerprint()
        for name in request.tensors.keys.sorted().each {
            tensors.add(name)
            switch request.tensors[name] {
            case .floats(let tensor): tensors.add(tensor)
            case .integers(let values, let shape):
                tensors.add(shape.description)
                for value in values.each { tensors.add(value) }
            case .bytes(let bytes): unsafe bytes.withUnsafeBytes { unsafe tensors.add($0) }
            case nil: break
            }
        }
        return [
            ("plan", plan.json.serialized()), ("request", JSON.object(request.options).serialized()),
            ("tensor of the request", tensors.text),
        ]
    }
}

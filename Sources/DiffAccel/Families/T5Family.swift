import DiffCheckpoint
import DiffModels
import DiffTensor

/// T5's encoder as a model of its own: tokens to states.
struct T5Family: ModelFamily {
    static let name = "t5_encoder"
    static let forwardNames = (inputs: ["tokens", "mask"], outputs: ["last_hidden_state"])
    static let rules = T5Configuration.rules

    let encoder: T5Encoder

    static func recognises(_ config: JSONObject) -> Bool {
        config.isOf(type: "t5", classes: ["T5EncoderModel"])
    }

    init(_ opened: Opened) throws(DiffError) {
        encoder = try T5Encoder(T5Configuration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [encoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(encoder) }

    var description: [String: JSON] {
        let c = encoder.configuration
        return [
            "input": .string("tokens"),
            "config": .object([
                "layers": .integer(c.layers), "width": .integer(c.width), "heads": .integer(c.heads),
                "head_dim": .integer(c.headDim), "mlp": .integer(c.mlpWidth), "vocabulary": .integer(c.vocabulary),
                "gated": .bool(c.isGated), "buckets": .integer(c.buckets), "max_distance": .integer(c.maxDistance),
            ]),
        ]
    }

    /// `tokens` [n, t] or [t], and of the same extents `mask`, 0 for tokens that nothing sees (absent: all are seen), give
    /// `last_hidden_state` [n, t, width].
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        let output = "last_hidden_state"
        if let other = wanted.each.first(where: { $0 != output }) {
            throw DiffError(.invalidArgument, "no output \"\(other)\"; this model has \(output)")
        }
        var outputs: [String: Tensor] = [:]
        outputs.put(try encoder(inputs.integerRows("tokens"), mask: inputs.mask("mask"), run), for: output)
        return outputs
    }
}

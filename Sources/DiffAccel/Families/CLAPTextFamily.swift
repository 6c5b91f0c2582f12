import DiffCheckpoint
import DiffModels
import DiffTensor

/// CLAP's text tower as a model of its own: tokens to vectors.
struct CLAPTextFamily: ModelFamily {
    static let name = "clap_text"
    static let forwardNames = (
        inputs: ["tokens", "mask"], outputs: ["text_features", "text_embeds", "pooled", "last_hidden_state"]
    )
    static let rules = CLAPTextConfiguration.rules

    let encoder: CLAPTextEncoder

    static func recognises(_ config: JSONObject) -> Bool {
        config.isOf(type: "clap_text_model", classes: ["ClapModel", "ClapTextModelWithProjection"])
    }

    init(_ opened: Opened) throws(DiffError) {
        encoder = try CLAPTextEncoder(CLAPTextConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [encoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(encoder) }

    var description: [String: JSON] {
        let c = encoder.configuration
        return [
            "input": .string("tokens"), "unused_parts": .array(encoder.unused.map { .string($0) }),
            "config": .object([
                "layers": .integer(c.layers), "width": .integer(c.width), "heads": .integer(c.heads),
                "mlp": .integer(c.mlpWidth), "vocabulary": .integer(c.vocabulary), "tokens": .integer(c.maxTokens),
                "projection": .integer(c.projection),
            ]),
        ]
    }

    /// `tokens` [n, t] or [t], and of the same extents `mask`, 0 for padding (absent: all are seen), give `text_features` [n, projection], of
    /// length 1; `text_embeds`, before that; `pooled` [n, width]; `last_hidden_state` [n, t, width].
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        let output = try encoder(inputs.integerRows("tokens"), mask: inputs.mask("mask"), run)
        var outputs: [String: Tensor] = [:]
        for name in wanted.each {
            switch name {
            case "text_features": outputs.put(output.vectors, for: name)
            case "text_embeds": outputs.put(output.projected, for: name)
            case "pooled": outputs.put(output.pooled, for: name)
            case "last_hidden_state": outputs.put(output.states, for: name)
            default:
                throw DiffError(
                    .invalidArgument,
                    "no output \"\(name)\"; this model has \(Self.forwardNames.outputs.joined(separator: ", "))")
            }
        }
        return outputs
    }
}

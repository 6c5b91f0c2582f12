import DiffCheckpoint
import DiffModels
import DiffTensor

/// CLIP's text tower as a model of its own: tokens to states.
struct CLIPTextFamily: ModelFamily {
    static let name = "clip_text"
    static let forwardNames = (
        inputs: ["tokens", "layer"], outputs: ["last_hidden_state", "hidden_state", "pooled"]
    )
    static let rules = CLIPTextConfiguration.rules

    let encoder: CLIPTextEncoder

    static func recognises(_ config: JSONObject) -> Bool {
        config.isOf(type: "clip_text_model", classes: ["CLIPTextModel", "CLIPTextModelWithProjection"])
    }

    init(_ opened: Opened) throws(DiffError) {
        encoder = try CLIPTextEncoder(CLIPTextConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [encoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(encoder) }

    var description: [String: JSON] {
        let c = encoder.configuration
        return [
            "input": .string("tokens"),
            "config": .object([
                "layers": .integer(c.layers), "width": .integer(c.width), "heads": .integer(c.heads),
                "mlp": .integer(c.mlpWidth), "vocabulary": .integer(c.vocabulary), "positions": .integer(c.positions),
                "pooled": .integer(encoder.pooledWidth),
            ]),
        ]
    }

    /// `tokens` [n, t] or [t] give `last_hidden_state` [n, t, width], after the final norm; `hidden_state`, that of `layer` [1] without it
    /// (absent: the last but one); `pooled` [n, width or projection].
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        let tokens = try inputs.integerRows("tokens")
        let layer = try inputs.integers["layer"].map { (layer) throws(DiffError) in
            guard let only = layer.first, layer.count == 1 else {
                throw DiffError(.shape, "the input \"layer\" must be one number, found \(layer.count)")
            }
            return only
        }
        var outputs: [String: Tensor] = [:]
        for name in wanted.each {
            switch name {
            case "last_hidden_state", "pooled":
                let pools = wanted.contains("pooled")
                guard outputs[name] == nil else { continue }
                let output = try encoder(tokens, pools: pools, run)
                outputs.put(output.states, for: "last_hidden_state")
                if let pooled = output.pooled { outputs.put(pooled, for: "pooled") }
            case "hidden_state":
                let last = max(0, encoder.configuration.layers &- 1)
                outputs.put(try encoder(tokens, hidden: layer ?? last, pools: false, run).states, for: name)
            default:
                throw DiffError(
                    .invalidArgument,
                    "no output \"\(name)\"; this model has \(Self.forwardNames.outputs.joined(separator: ", "))")
            }
        }
        return outputs
    }
}

import DiffCheckpoint
import DiffTensor

extension Activation {
    /// The function that configs of transformers call `name`; nil for one that is not computed here.
    init?(transformers name: String) {
        switch name {
        case "gelu", "gelu_python": self = .geluErf
        case "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate": self = .geluTanh
        case "quick_gelu": self = .geluQuick
        case "silu", "swish": self = .silu
        case "relu": self = .relu
        case "linear": self = .none
        default: return nil
        }
    }

    /// The function that the member `key` of a config names, `fallback` when it is absent. Throws `unsupported` for others.
    init(_ config: JSONObject, _ key: String, default fallback: String) throws(DiffError) {
        let name = try config.string(key, default: fallback)
        guard let known = Activation(transformers: name) else {
            throw DiffError(
                .unsupported,
                "\(config.place(of: key)): \"\(name)\": an activation that this library does not compute; known: gelu, gelu_new, "
                    + "quick_gelu, silu, relu. If it is another name of one of these, pass the config with that")
        }
        self = known
    }
}

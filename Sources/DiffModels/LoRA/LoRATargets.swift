import DiffCheckpoint
import DiffTensor

/// The matrices of a network by all the names that LoRA files have for them.
struct LoRATargets {
    struct Target {
        let tensor: String
        /// What of the upper factor's rows belongs to it: a LoRA of a fused projection changes several tensors.
        var part = TensorSource.Part.whole
        /// Which of its rows are changed, where the network's own projection is fused.
        var rows: (part: Int, of: Int)?
        /// Whether the name is one of the original layout.
        var isOriginal = false
    }

    private var targets: [String: [Target]] = [:]

    /// Fused projections that networks of diffusers may be stored with, and what they consist of.
    private static let fused = [
        ("to_qkv", ["to_q", "to_k", "to_v"]), ("to_kv", ["to_k", "to_v"]),
        ("to_added_qkv", ["add_q_proj", "add_k_proj", "add_v_proj"]),
    ]

    /// Those of `tensors`, named as diffusers and transformers name them; `pairs` gives names of the original layout.
    init(_ tensors: TensorTable, _ pairs: LayoutPairs?) {
        for name in tensors.names.each {
            guard let module = name.without(suffix: ".weight"), let shape = tensors.info(name)?.shape, shape.rank >= 2
            else {
                continue
            }
            add(module, Target(tensor: name))
            // Newer releases of transformers leave that out.
            add(module.without(prefix: "text_model.") ?? "text_model.\(module)", Target(tensor: name))
            if let source = pairs?.source(of: module) {
                add(source.name, Target(tensor: name, part: source.part, isOriginal: true))
            }
            for (whole, parts) in Self.fused.each {
                guard let start = module.without(suffix: ".\(whole)") else { continue }
                for (index, part) in parts.numbered {
                    add("\(start).\(part)", Target(tensor: name, rows: (index, parts.count)))
                }
            }
        }
    }

    private mutating func add(_ name: String, _ target: Target) {
        let key = LoRAName.underscored(name)
        var list = targets[key] ?? []
        list.append(target)
        targets.put(list, for: key)
    }

    /// What a LoRA's module `name`, with underscores for dots, changes; empty when nothing is called so.
    func of(_ name: String) -> [Target] {
        guard let found = targets[name] else { return [] }
        // A name of both layouts is one of diffusers'.
        let own = found.each.filter { !$0.isOriginal }
        return own.isEmpty ? found : own
    }
}

extension LayoutPairs {
    /// Those of a network that diffusers describes as `config`; nil for one that had no other layout.
    static func of(_ config: JSON) -> LayoutPairs? {
        guard case .object(let members) = config else { return nil }
        if case .integer(let layers)? = members["num_layers"], members["joint_attention_dim"] != nil {
            return TransformerPairs.pairs(layers: max(0, min(layers, Limits.layers)))
        }
        guard case .array(let types)? = members["down_block_types"],
            case .integer(let layers)? = members["layers_per_block"],
            types.count <= Limits.layers
        else { return nil }
        return UNetPairs.pairs(types.map { $0 != "DownBlock2D" }, layersPerBlock: max(0, min(layers, 64)))
    }
}

import DiffCheckpoint
import DiffTensor

/// A small transformer of Stable Diffusion 3 with random weights under diffusers' names.
public struct TinyMMDiT: Sendable {
    public var side = 8, patchSize = 2, channels = 4, depth = 3, heads = 2, headWidth = 8, textWidth = 12,
        pooledWidth = 10
    public var positionsSide = 6
    public var normalisesHeads = false, storesPositions = true
    public var dualAttention: [Int] = []
    public var seed: UInt64 = 1

    public init() {}

    public var width: Int { heads * headWidth }

    public var config: JSON {
        .object([
            "_class_name": .string("SD3Transformer2DModel"), "sample_size": .integer(side),
            "patch_size": .integer(patchSize), "in_channels": .integer(channels), "out_channels": .integer(channels),
            "num_layers": .integer(depth), "attention_head_dim": .integer(headWidth),
            "num_attention_heads": .integer(heads), "joint_attention_dim": .integer(textWidth),
            "caption_projection_dim": .integer(width), "pooled_projection_dim": .integer(pooledWidth),
            "pos_embed_max_size": .integer(positionsSide),
            "qk_norm": normalisesHeads ? .string("rms_norm") : .null,
            "dual_attention_layers": .array(dualAttention.map { .integer($0) }),
        ])
    }

    /// Names and extents.
    public var shapes: [String: [Int]] {
        let (w, p) = (width, patchSize)
        var shapes: [String: [Int]] = [
            "pos_embed.proj.weight": [w, channels, p, p], "pos_embed.proj.bias": [w],
        ]
        if storesPositions { shapes["pos_embed.pos_embed"] = [1, positionsSide * positionsSide, w] }
        func linear(_ name: String, _ inputs: Int, _ outputs: Int) {
            shapes["\(name).weight"] = [outputs, inputs]
            shapes["\(name).bias"] = [outputs]
        }
        linear("context_embedder", textWidth, w)
        for (part, inputs) in [("timestep_embedder", 256), ("text_embedder", pooledWidth)] {
            linear("time_text_embed.\(part).linear_1", inputs, w)
            linear("time_text_embed.\(part).linear_2", w, w)
        }
        linear("norm_out.linear", w, 2 * w)
        linear("proj_out", w, p * p * channels)
        for index in 0..<depth {
            let (name, isLast, hasDual) = (
                "transformer_blocks.\(index)", index == depth - 1, dualAttention.contains(index)
            )
            linear("\(name).norm1.linear", w, (hasDual ? 9 : 6) * w)
            linear("\(name).norm1_context.linear", w, (isLast ? 2 : 6) * w)
            var layers = ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0"]
            if !isLast { layers.append("to_add_out") }
            for layer in layers { linear("\(name).attn.\(layer)", w, w) }
            if hasDual { for layer in ["to_q", "to_k", "to_v", "to_out.0"] { linear("\(name).attn2.\(layer)", w, w) } }
            if normalisesHeads {
                var norms = ["attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k"]
                if hasDual { norms += ["attn2.norm_q", "attn2.norm_k"] }
                for norm in norms { shapes["\(name).\(norm).weight"] = [headWidth] }
            }
            for mlp in isLast ? ["ff"] : ["ff", "ff_context"] {
                linear("\(name).\(mlp).net.0.proj", w, 4 * w)
                linear("\(name).\(mlp).net.2", 4 * w, w)
            }
        }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// `tensors` with the projections of queries, keys and values stored as one, as diffusers saves them after fusing.
    public static func fused(_ tensors: [String: Tensor]) throws(DiffError) -> [String: Tensor] {
        var fused = tensors
        for name in tensors.keys where name.hasSuffix(".to_q.weight") || name.hasSuffix(".add_q_proj.weight") {
            let isAdded = name.hasSuffix(".add_q_proj.weight")
            let parts = isAdded ? ["add_q_proj", "add_k_proj", "add_v_proj"] : ["to_q", "to_k", "to_v"]
            let scope = name.dropLast(parts[0].count + 7)
            for kind in ["weight", "bias"] {
                var values: [Float] = []
                var dims: [Int] = []
                for part in parts {
                    guard let tensor = fused.removeValue(forKey: "\(scope)\(part).\(kind)") else { continue }
                    values += tensor.array
                    dims = tensor.shape.dims
                }
                dims[0] *= 3
                fused["\(scope)\(isAdded ? "to_added_qkv" : "to_qkv").\(kind)"] = try Tensor(values, Shape(dims))
            }
        }
        return fused
    }

    /// Writes a model folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "transformer") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/diffusion_pytorch_model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}

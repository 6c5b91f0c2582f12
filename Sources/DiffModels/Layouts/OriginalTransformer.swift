import DiffCheckpoint
import DiffTensor

/// The transformer of Stable Diffusion 3 in the original layout (`joint_blocks`), read off the names and shapes of its tensors.
struct OriginalTransformer: Sendable {
    let prefix: String
    private let layers: Int
    private let dual: [Int]
    private let shapes: Shapes

    private struct Shapes: Sendable {
        var input, context, added, output: Shape
        var positions: Int
        var normed: Int?
    }

    static let prefixes = OriginalUNet.prefixes

    /// Nil when `table` has no such network. Throws `unsupported` for one that no configuration describes.
    init?(_ table: TensorTable) throws(DiffError) {
        let found = Self.prefixes.each.first { table.has("\($0)joint_blocks.0.x_block.attn.qkv.weight") }
        guard let prefix = found else { return nil }
        self.prefix = prefix
        func shape(_ name: String) -> Shape? { table.info(prefix + name)?.shape }
        guard let input = shape("x_embedder.proj.weight"), input.rank == 4, input[2] == input[3], input[2] > 0,
            let context = shape("context_embedder.weight"), let added = shape("y_embedder.mlp.0.weight"),
            let output = shape("final_layer.linear.weight"),
            let positions = shape("pos_embed"), let side = Checked.root(positions.rank == 3 ? positions[1] : 0)
        else {
            throw DiffError(
                .unsupported,
                "\(table.path): \(prefix)joint_blocks: without x_embedder, context_embedder, y_embedder, pos_embed and final_layer "
                    + "this is no transformer of Stable Diffusion 3")
        }
        var (layers, dual) = (0, [Int]())
        while layers < Limits.layers, table.has("\(prefix)joint_blocks.\(layers).x_block.attn.qkv.weight") {
            if table.has("\(prefix)joint_blocks.\(layers).x_block.attn2.qkv.weight") { dual.append(layers) }
            layers &+= 1
        }
        (self.layers, self.dual) = (layers, dual)
        shapes = Shapes(
            input: input, context: context, added: added, output: output, positions: side,
            normed: shape("joint_blocks.0.x_block.attn.ln_q.weight").map { $0[0] })
    }

    /// diffusers' `SD3Transformer2DModel` for it. Heads have 64 channels unless their norms tell.
    var config: JSON {
        let width = shapes.input[0]
        let head = max(1, min(width, shapes.normed ?? 64))
        let patch = max(1, shapes.input[2])
        var config: JSON = [
            "_class_name": "SD3Transformer2DModel", "attention_head_dim": .integer(head),
            "caption_projection_dim": .integer(shapes.context[0]), "in_channels": .integer(shapes.input[1]),
            "joint_attention_dim": .integer(shapes.context[1]),
            "num_attention_heads": .integer(Checked.divide(width, head) ?? 1),
            "num_layers": .integer(layers),
            "out_channels": .integer(Checked.divide(shapes.output[0], patch &* patch) ?? 0),
            "patch_size": .integer(patch), "pooled_projection_dim": .integer(shapes.added[1]),
            "pos_embed_max_size": .integer(shapes.positions), "sample_size": 128,
        ]
        if shapes.normed != nil { config = config.setting("qk_norm", "rms_norm") }
        if !dual.isEmpty {
            var numbers: [JSON] = []
            for layer in dual.each { numbers.append(.integer(layer)) }
            config = config.setting("dual_attention_layers", .array(numbers))
        }
        return config
    }

    /// The names of both layouts.
    var pairs: LayoutPairs { TransformerPairs.pairs(layers: layers) }
}

/// Names of Stable Diffusion 3's transformer in diffusers' layout and in the original one.
enum TransformerPairs {
    static func pairs(layers: Int) -> LayoutPairs {
        var pairs = LayoutPairs()
        for (model, source) in ends.each { pairs.add(model, source) }
        // Scale before shift in diffusers, shift before scale in the original.
        pairs.add("norm_out.linear", "final_layer.adaLN_modulation.1", .swappedHalves)
        for layer in Indices(below: layers) {
            let (model, source) = ("transformer_blocks.\(layer)", "joint_blocks.\(layer)")
            pairs.add(model, "\(source).x_block", within: image)
            pairs.add(model, "\(source).context_block", within: context)
            for (index, name) in ["q", "k", "v"].numbered {
                let rows = TensorSource.Part.rows(index, of: 3)
                pairs.add("\(model).attn.to_\(name)", "\(source).x_block.attn.qkv", rows)
                pairs.add("\(model).attn.add_\(name)_proj", "\(source).context_block.attn.qkv", rows)
                pairs.add("\(model).attn2.to_\(name)", "\(source).x_block.attn2.qkv", rows)
            }
            // The last block modulates its context by scale and shift alone, in the order of the final layer.
            pairs.add(
                "\(model).norm1_context.linear", "\(source).context_block.adaLN_modulation.1",
                layer == layers &- 1 ? .swappedHalves : .whole)
        }
        return pairs
    }

    private static let ends = [
        ("pos_embed.pos_embed", "pos_embed"), ("pos_embed.proj", "x_embedder.proj"),
        ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
        ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"), ("context_embedder", "context_embedder"),
        ("proj_out", "final_layer.linear"),
    ]
    private static let image = [
        ("norm1.linear", "adaLN_modulation.1"), ("attn.norm_q", "attn.ln_q"), ("attn.norm_k", "attn.ln_k"),
        ("attn.to_out.0", "attn.proj"), ("attn2.norm_q", "attn2.ln_q"), ("attn2.norm_k", "attn2.ln_k"),
        ("attn2.to_out.0", "attn2.proj"), ("ff.net.0.proj", "mlp.fc1"), ("ff.net.2", "mlp.fc2"),
    ]
    private static let context = [
        ("attn.norm_added_q", "attn.ln_q"), ("attn.norm_added_k", "attn.ln_k"), ("attn.to_add_out", "attn.proj"),
        ("ff_context.net.0.proj", "mlp.fc1"), ("ff_context.net.2", "mlp.fc2"),
    ]
}

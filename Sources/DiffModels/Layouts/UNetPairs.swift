import DiffCheckpoint
import DiffTensor

/// Names of a Stable Diffusion U-Net in diffusers' layout and in the original one, for networks of any number of levels.
enum UNetPairs {
    private static let residual = [
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
    ]

    /// - Parameters:
    ///   - attention: for each level, finest first, whether its blocks have transformers.
    ///   - layersPerBlock: residual blocks of a level on the way down; one more on the way up.
    static func pairs(_ attention: [Bool], layersPerBlock: Int) -> LayoutPairs {
        var pairs = LayoutPairs()
        for (model, source) in ends.each { pairs.add(model, source) }
        var block = 1
        for (level, hasAttention) in attention.numbered {
            for layer in Indices(below: layersPerBlock) {
                pairs.add("down_blocks.\(level).resnets.\(layer)", "input_blocks.\(block).0", within: residual)
                if hasAttention { pairs.add("down_blocks.\(level).attentions.\(layer)", "input_blocks.\(block).1") }
                block &+= 1
            }
            guard level < attention.count &- 1 else { continue }
            pairs.add("down_blocks.\(level).downsamplers.0.conv", "input_blocks.\(block).0.op")
            block &+= 1
        }
        pairs.add("mid_block.resnets.0", "middle_block.0", within: residual)
        pairs.add("mid_block.attentions.0", "middle_block.1")
        pairs.add("mid_block.resnets.1", "middle_block.2", within: residual)
        block = 0
        for (level, hasAttention) in Array(attention.reversed()).numbered {
            for layer in Indices(below: layersPerBlock &+ 1) {
                pairs.add("up_blocks.\(level).resnets.\(layer)", "output_blocks.\(block).0", within: residual)
                if hasAttention { pairs.add("up_blocks.\(level).attentions.\(layer)", "output_blocks.\(block).1") }
                if layer == layersPerBlock, level < attention.count &- 1 {
                    pairs.add(
                        "up_blocks.\(level).upsamplers.0.conv", "output_blocks.\(block).\(hasAttention ? 2 : 1).conv")
                }
                block &+= 1
            }
        }
        return pairs
    }

    private static let ends = [
        ("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2"),
        ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
        ("time_embedding.cond_proj", "time_embed.cond_proj"), ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
    ]
}

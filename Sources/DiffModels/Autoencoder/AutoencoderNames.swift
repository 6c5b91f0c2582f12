import DiffCheckpoint

/// Names of the parts of a Stable Diffusion autoencoder in its two published layouts.
enum AutoencoderNames: Sendable {
    /// diffusers `AutoencoderKL`; the attention projections may have their old names.
    case diffusers
    /// The original latent-diffusion layout (`autoencoder_kl_ema.pth`): 1 x 1 convolutions in the attention, decoder
    /// levels numbered from the finest, so that `up.3` runs first.
    case ldm

    init(_ weights: Weights) {
        let name = "mid.block_1.conv1.weight"
        self = weights.has("decoder.\(name)") || weights.has("encoder.\(name)") ? .ldm : .diffusers
    }

    func middleBlock(_ index: Int) -> String {
        self == .ldm ? "mid.block_\(index &+ 1)" : "mid_block.resnets.\(index)"
    }
    var middleAttention: String { self == .ldm ? "mid.attn_1" : "mid_block.attentions.0" }
    var middle: String { self == .ldm ? "mid" : "mid_block" }

    /// Decoder level `level` in running order (0 is the coarsest) of `levels`.
    func up(_ level: Int, of levels: Int) -> String {
        self == .ldm ? "up.\(levels - 1 - level)" : "up_blocks.\(level)"
    }
    func down(_ level: Int) -> String { self == .ldm ? "down.\(level)" : "down_blocks.\(level)" }
    func residual(_ index: Int) -> String { self == .ldm ? "block.\(index)" : "resnets.\(index)" }
    var upsampler: String { self == .ldm ? "upsample.conv" : "upsamplers.0.conv" }
    var downsampler: String { self == .ldm ? "downsample.conv" : "downsamplers.0.conv" }
    var lastNorm: String { self == .ldm ? "norm_out" : "conv_norm_out" }
    var shortcut: String { self == .ldm ? "nin_shortcut" : "conv_shortcut" }
    var attentionNorm: String { self == .ldm ? "norm" : "group_norm" }

    /// Names the query, key, value and output projections may have, newest first.
    var attentionProjections: [[String]] {
        switch self {
        case .ldm: [["q"], ["k"], ["v"], ["proj_out"]]
        case .diffusers: [["to_q", "query"], ["to_k", "key"], ["to_v", "value"], ["to_out.0", "proj_attn"]]
        }
    }
}

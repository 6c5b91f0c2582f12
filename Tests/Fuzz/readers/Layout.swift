import DiffCheckpoint
import DiffModels
import DiffTensor

/// Single files in the original layout with parts missing, renamed and misshapen: taken apart, and every tensor of every part read.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    var input = Input(data, size)
    let base = input.pick(bases)
    let prediction = input.pick([nil, nil, "epsilon", "v_prediction", "x"])
    let config: JSON? = input.pick([nil, nil, ["unet": ["norm_num_groups": 2]], ["scheduler": 3], ["vae": [:]]])
    let entries = edit(base, &input, words: words)
    calling { () throws(DiffError) in
        let table = try memory.table(entries)
        guard let file = try SingleFile.recognise(table, .init(predictionType: prediction, config: config)) else {
            return
        }
        _ = file.ignoredGroups
        for name in file.partNames {
            guard let part = file.part(name) else { continue }
            let weights = Weights(part.tensors, options: .init(dryRun: false))
            for tensor in part.tensors.names {
                guard let shape = part.tensors.info(tensor)?.shape else { continue }
                calling { () throws(DiffError) in _ = try weights.tensor(tensor, shape) }
            }
            calling { () throws(DiffError) in _ = try weights.tensor("missing.\(name)", [2]) }
            calling { () throws(DiffError) in try weights.finish() }
        }
    }
    return 0
}

private let memory = MemoryFile()

private let words = [
    "model.diffusion_model.", "first_stage_model", "cond_stage_model", "conditioner", "embedders", "0", "1", "2",
    "weight", "bias",
    "transformer_blocks", "input_blocks", "output_blocks", "middle_block", "joint_blocks", "x_block", "context_block",
    "attn", "attn2",
    "qkv", "in_layers", "out_layers", "emb_layers", "op", "proj_in", "to_q", "to_k", "label_emb", "time_embed",
    "cond_proj", "v_pred",
    "ztsnr", "global_step", "model_ema", "loss", "text_model", "text_projection", "in_proj_weight", "resblocks",
    "transformer", "model",
    "text_encoders", "clip_l", "t5xxl", "ln_q", "pos_embed", "final_layer", "4294967296", "-1", "",
]

private func prefixed(_ prefix: String, _ entries: [(String, [Int])]) -> [Entry] {
    entries.map { Entry(name: prefix + $0.0, dims: $0.1) }
}

private func residual(_ block: String, _ width: Int) -> [(String, [Int])] {
    [
        ("\(block).in_layers.0.weight", [width]), ("\(block).in_layers.2.weight", [width, width, 3, 3]),
        ("\(block).emb_layers.1.weight", [width, 2]), ("\(block).out_layers.3.weight", [width, width, 3, 3]),
    ]
}

private func attention(_ block: String, _ projection: [Int]) -> [(String, [Int])] {
    [
        ("\(block).proj_in.weight", projection), ("\(block).transformer_blocks.0.attn1.to_q.weight", [2, 2]),
        ("\(block).transformer_blocks.0.attn2.to_k.weight", [2, 3]),
    ]
}

private func network(_ projection: [Int], channels: Int = 4) -> [(String, [Int])] {
    [
        ("input_blocks.0.0.weight", [2, channels, 3, 3]), ("out.2.weight", [4, 2, 3, 3]),
        ("time_embed.0.weight", [2, 2]),
    ]
        + residual("input_blocks.1.0", 2) + attention("input_blocks.1.1", projection) + [
            ("input_blocks.2.0.op.weight", [2, 2, 3, 3])
        ]
        + residual("input_blocks.3.0", 4) + residual("middle_block.0", 4) + attention("middle_block.1", projection)
        + residual("middle_block.2", 4) + residual("output_blocks.1.0", 4) + [
            ("output_blocks.1.1.conv.weight", [2, 2, 3, 3])
        ]
}

private let autoencoder: [(String, [Int])] = [
    ("decoder.conv_in.weight", [4, 4, 3, 3]), ("decoder.mid.block_1.conv1.weight", [2, 2, 1, 1]),
    ("decoder.up.0.block.0.conv1.weight", [2, 2, 1, 1]), ("decoder.up.1.block.0.conv1.weight", [4, 2, 1, 1]),
    ("decoder.conv_out.weight", [3, 2, 3, 3]), ("encoder.conv_in.weight", [2, 3, 3, 3]),
    ("quant_conv.weight", [8, 8, 1, 1]),
    ("loss.logvar", [1]),
]

private let clip: [(String, [Int])] = [
    ("text_model.embeddings.token_embedding.weight", [5, 2]),
    ("text_model.embeddings.position_embedding.weight", [3, 2]),
    ("text_model.encoder.layers.0.layer_norm1.weight", [2]), ("text_model.encoder.layers.0.mlp.fc1.weight", [4, 2]),
    ("text_model.embeddings.position_ids", [1, 3]), ("text_projection.weight", [2, 2]),
]

private let openClip: [(String, [Int])] = [
    ("token_embedding.weight", [5, 2]), ("positional_embedding", [3, 2]), ("ln_final.weight", [2]),
    ("text_projection", [2, 3]),
    ("transformer.resblocks.0.ln_1.weight", [2]), ("transformer.resblocks.0.attn.in_proj_weight", [6, 2]),
    ("transformer.resblocks.0.attn.in_proj_bias", [6]), ("transformer.resblocks.1.ln_1.weight", [2]),
    ("logit_scale", [1]),
]

private let transformer: [(String, [Int])] = [
    ("x_embedder.proj.weight", [4, 4, 2, 2]), ("context_embedder.weight", [4, 3]), ("y_embedder.mlp.0.weight", [4, 5]),
    ("final_layer.linear.weight", [16, 4]), ("final_layer.adaLN_modulation.1.weight", [8, 4]),
    ("pos_embed", [1, 9, 4]),
    ("joint_blocks.0.x_block.attn.qkv.weight", [12, 4]), ("joint_blocks.0.context_block.attn.qkv.bias", [12]),
    ("joint_blocks.0.context_block.adaLN_modulation.1.weight", [8, 4]),
    ("joint_blocks.0.x_block.attn2.qkv.weight", [12, 4]),
    ("joint_blocks.0.x_block.attn.ln_q.weight", [2]),
]

private let t5: [(String, [Int])] = [
    ("shared.weight", [5, 4]), ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", [4, 2]),
    ("encoder.block.0.layer.0.SelfAttention.q.weight", [4, 4]),
    ("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", [6, 4]),
]

private let bases: [[Entry]] = [
    prefixed("model.diffusion_model.", network([2, 2, 1, 1])) + prefixed("first_stage_model.", autoencoder)
        + prefixed("cond_stage_model.transformer.", clip) + prefixed("model_ema.", [("decay", [1])]),
    prefixed("model.diffusion_model.", network([2, 2])) + prefixed("cond_stage_model.model.", openClip),
    prefixed("model.diffusion_model.", network([2, 2]) + [("label_emb.0.0.weight", [2, 15])])
        + prefixed("conditioner.embedders.0.transformer.", clip) + prefixed("conditioner.embedders.1.model.", openClip),
    prefixed("model.diffusion_model.", transformer) + prefixed("text_encoders.clip_l.transformer.", clip)
        + prefixed("text_encoders.t5xxl.transformer.", t5) + prefixed("first_stage_model.", autoencoder),
    prefixed("", autoencoder), prefixed("", network([2, 2, 1, 1], channels: 9)), prefixed("", transformer),
]

import DiffCheckpoint
import DiffModels
import DiffTensor

/// LoRA files of every naming with layers missing, renamed and misshapen: opened, and merged into small networks.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    var input = Input(data, size)
    let base = input.pick(bases)
    let metadata = input.pick(notes)
    let scale = input.pick([1, -0.5, 0, 1e300, .nan])
    let type = input.pick([WeightType.stored, .f32, .int8])
    let entries = edit(base, &input, words: words)
    calling { () throws(DiffError) in
        let path = try memory.table(entries, metadata: metadata).path
        let file = try LoRAFile.open(path)
        _ = (file.family, file.partNames)
        calling { () throws(DiffError) in try file.require(["unet", "text_encoder"]) }
        for (part, table, config) in networks {
            calling { () throws(DiffError) in
                let updates = try LoRASet([(file, scale), (file, 1)]).updates(of: part, config: config, tensors: table)
                let weights = Weights(table, options: .init(type: type, updates: updates))
                for name in updates?.names ?? [] {
                    guard let dims = table.info(name)?.shape.dims else { continue }
                    calling { () throws(DiffError) in _ = try weights.tensor(name, dims) }
                    calling { () throws(DiffError) in _ = try weights.packed(name, dims) }
                    calling { () throws(DiffError) in _ = try weights.packed(concatenating: [name, name], dims) }
                }
            }
        }
    }
    return 0
}

private let memory = MemoryFile()
private let files = (MemoryFile(), MemoryFile(), MemoryFile())

private let module = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"

private let networks: [(String, TensorTable, JSON?)] = {
    func table(_ file: MemoryFile, _ entries: [Entry]) -> TensorTable {
        guard let table = try? file.table(entries) else { fatalError("the good network") }
        return table
    }
    let unet = table(
        files.0,
        ["to_q", "to_k", "to_out.0"].map { Entry(name: "\(module).\($0).weight", dims: [4, 4]) } + [
            Entry(name: "conv_in.weight", dims: [2, 4, 3, 3], type: "F16"),
            Entry(name: "mid_block.attentions.0.to_qkv.weight", dims: [6, 2]),
            Entry(name: "down_blocks.0.resnets.0.conv1.weight", dims: [4, 4, 3, 3], type: "BF16"),
        ])
    let transformer = table(
        files.1,
        ["to_q", "to_k", "to_v"].map { Entry(name: "transformer_blocks.0.attn.\($0).weight", dims: [4, 4]) }
            + [Entry(name: "norm_out.linear.weight", dims: [8, 4])])
    let text = table(files.2, [Entry(name: "text_model.encoder.layers.0.self_attn.q_proj.weight", dims: [4, 4])])
    return [
        ("unet", unet, ["down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "layers_per_block": 1]),
        ("transformer", transformer, ["num_layers": 1, "joint_attention_dim": 4]), ("text_encoder", text, nil),
    ]
}()

private let notes: [String?] = [
    nil, nil, #"{"lora_adapter_metadata":"{\"unet.lora_alpha\":2,\"unet.alpha_pattern\":{\"to_q\":1}}"}"#,
    #"{"lora_adapter_metadata":"{\"unet.lora_alpha\":\"x\"}"}"#,
    #"{"lora_adapter_metadata":"{\"text_encoder.use_rslora\":true}"}"#,
    #"{"lora_adapter_metadata":"["}"#, #"{"lora_adapter_metadata":"{\"unet.use_dora\":true}"}"#,
]

private let words = [
    "lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "unet", "transformer", "text_encoder", "text_encoder_2",
    "base_model.model.",
    "lora_A", "lora_B", "lora_up", "lora_down", "lora_mid", "alpha", "weight", "_lora", "processor", "to_q", "to_out",
    "to_k_lora",
    "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "input_blocks_1_1_transformer_blocks_0_attn1_to_k",
    "input_blocks_0_0", "joint_blocks_0_x_block_attn_qkv", "self_attn", "q_proj", "lora_linear_layer", "dora_scale",
    "hada_w1_a", "diff",
    "text_model", "default", "mid_block_attentions_0_to_k", "conv_in", ".alpha", ".", "",
]

private func layer(_ name: String, _ ends: (String, String), _ up: [Int], _ down: [Int]) -> [Entry] {
    [Entry(name: name + ends.0, dims: up), Entry(name: name + ends.1, dims: down)]
}

private let kohya = (".lora_up.weight", ".lora_down.weight")
private let bases: [[Entry]] = [
    layer("lora_unet_\(module.map { $0 == "." ? "_" : "\($0)" }.joined())_to_q", kohya, [4, 2], [2, 4])
        + [
            Entry(name: "lora_unet_conv_in.alpha", dims: []),
            Entry(name: "lora_unet_conv_in.lora_mid.weight", dims: [2, 2, 3, 3]),
        ]
        + layer("lora_unet_conv_in", kohya, [2, 2, 1, 1], [2, 4, 1, 1])
        + layer("lora_te_text_model_encoder_layers_0_self_attn_q_proj", kohya, [4, 1], [1, 4]),
    layer("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_k", kohya, [4, 2], [2, 4])
        + layer("lora_unet_input_blocks_1_0_in_layers_2", kohya, [4, 2, 1, 1], [2, 4, 3, 3]),
    layer("unet.\(module).to_out.0", (".lora_B.weight", ".lora_A.weight"), [4, 2], [2, 4])
        + layer("unet.mid_block.attentions.0.to_k", (".lora.up.weight", ".lora.down.weight"), [2, 2], [2, 2]),
    layer("unet.\(module).processor.to_out", ("_lora.up.weight", "_lora.down.weight"), [4, 2], [2, 4])
        + layer(
            "text_encoder.text_model.encoder.layers.0.self_attn.to_q", ("_lora.up.weight", "_lora.down.weight"),
            [4, 1], [1, 4]),
    layer("lora_unet_joint_blocks_0_x_block_attn_qkv", kohya, [12, 2], [2, 4])
        + layer("transformer.norm_out.linear", (".lora_B.default.weight", ".lora_A.default.weight"), [8, 1], [1, 4]),
]

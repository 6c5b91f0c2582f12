import DiffAccel
import DiffCheckpoint
import DiffModels
import Foundation
import TestSupport
import Testing

/// The members of `config`, with others in their place or beside them.
func changed(_ config: JSON, _ others: [String: JSON]) -> JSON {
    guard case .object(let members) = config else { return config }
    return .object(members.merging(others) { $1 })
}

/// What a model's description has under `key`, as texts.
func texts(_ model: Model, _ key: String) throws -> [String] {
    try JSONObject(model.description, source: "description").strings(key)
}

func parsed(_ text: String) throws -> JSON { try JSON(parsing: text, source: "test") }

/// A tiny DiT with its decoder as a pipeline folder of diffusers.
struct TinyPipeline {
    let directory: ScratchDirectory
    let dit = TinyDiT()
    var path: String { directory.path }

    init(index: [String: JSON] = [:], transformer: [String: JSON] = [:], vae: [String: JSON] = [:]) throws {
        directory = try ScratchDirectory()
        let autoencoder = TinyAutoencoder()
        try directory.write(
            changed(
                parsed(
                    """
                    {"_class_name": "DiTPipeline", "_diffusers_version": "0.12.0.dev0", "vae": ["diffusers", "AutoencoderKL"],
                     "scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "transformer": ["diffusers", "Transformer2DModel"]}
                    """), index), as: "model_index.json")
        try directory.write(changed(dit.diffusersConfig, transformer), as: "transformer/config.json")
        try directory.write(
            dit.diffusersTensors(dit.tensors()), as: "transformer/diffusion_pytorch_model.safetensors")
        try autoencoder.write(directory, as: "vae")
        try directory.write(changed(autoencoder.config, vae), as: "vae/config.json")
    }
}

@Suite struct ConfigTests {
    // MARK: Published configs

    /// facebook/DiT-XL-2-256 and stabilityai/sd-vae-ft-mse, sizes aside.
    @Test func thePublishedPipelineLeavesNothingUnknown() throws {
        let transformer = try parsed(
            """
            {"_class_name": "Transformer2DModel", "_diffusers_version": "0.12.0.dev0", "_name_or_path": "x",
             "activation_fn": "gelu-approximate", "attention_bias": true, "cross_attention_dim": null,
             "double_self_attention": false, "dropout": 0.0, "norm_elementwise_affine": false, "norm_num_groups": 32,
             "norm_type": "ada_norm_zero", "norm_eps": 1e-05, "num_vector_embeds": null, "only_cross_attention": false,
             "upcast_attention": false, "use_linear_projection": false, "caption_channels": null,
             "attention_type": "default", "interpolation_scale": null, "use_additional_conditions": null}
            """)
        let vae = try parsed(
            """
            {"_class_name": "AutoencoderKL", "_diffusers_version": "0.4.2", "act_fn": "silu", "sample_size": 256,
             "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
             "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"], "force_upcast": true, "shift_factor": null,
             "latents_mean": null, "latents_std": null, "use_quant_conv": true, "use_post_quant_conv": true,
             "mid_block_add_attention": true}
            """)
        guard case .object(let a) = transformer, case .object(let b) = vae else { return }
        let pipeline = try TinyPipeline(
            index: ["id2label": .object(["0": .string("tench, Tinca tinca")])], transformer: a, vae: b)
        let model = try Model(pipeline.path)
        #expect(try texts(model, "unknown_keys") == [])
        let assumptions = try texts(model, "assumptions")
        #expect(assumptions.count == 1 && assumptions[0].contains("conventions"))
        var options = ModelOptions()
        options.conventions = "official"
        #expect(try texts(Model(pipeline.path, options), "assumptions") == [])
    }

    /// GSAI-ML/LLaDA-8B-Instruct and Dream-org/Dream-v0-Instruct-7B, sizes aside.
    @Test(arguments: [false, true]) func publishedLanguageModelsLeaveNothingUnknown(_ isDream: Bool) throws {
        let llada = """
            {"activation_type": "silu", "alibi": false, "alibi_bias_max": 8.0, "architectures": ["LLaDAModelLM"],
             "attention_dropout": 0.0, "attention_layer_norm": false, "attention_layer_norm_with_affine": true,
             "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig"}, "bias_for_layer_norm": false,
             "block_group_size": 1, "block_type": "llama", "embedding_dropout": 0.0, "flash_attention": false,
             "include_bias": false, "include_qkv_bias": false, "init_cutoff_factor": null, "init_device": "meta",
             "init_fn": "mitchell", "init_std": 0.02, "input_emb_norm": false, "layer_norm_type": "rms",
             "layer_norm_with_affine": true, "mlp_ratio": 4, "multi_query_attention": null, "pad_token_id": 1,
             "precision": "amp_bf16", "residual_dropout": 0.0, "rope": true, "rope_full_precision": true,
             "scale_logits": false, "transformers_version": "4.46.3", "use_cache": false}
            """
        let dream = """
            {"architectures": ["DreamModel"], "attention_dropout": 0.0, "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
             "bos_token_id": 1, "pad_token_id": 1, "hidden_act": "silu", "initializer_range": 0.02, "max_window_layers": 28,
             "rope_scaling": null, "sliding_window": null, "torch_dtype": "bfloat16", "transformers_version": "4.46.2",
             "use_cache": true, "use_sliding_window": false, "use_mrope": false}
            """
        var tiny = TinyLanguageModel()
        tiny.isDream = isDream
        guard case .object(let members) = try parsed(isDream ? dream : llada) else { return }
        let directory = try ScratchDirectory()
        let path = try tiny.write(to: directory)
        try directory.write(changed(tiny.config, members), as: "model/config.json")
        try directory.write(
            parsed(
                """
                {"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1, "transformers_version": "4"}
                """), as: "model/generation_config.json")
        try directory.write(
            parsed(
                """
                {"add_bos_token": false, "add_eos_token": false, "add_prefix_space": false, "added_tokens_decoder": {},
                 "additional_special_tokens": ["a"], "auto_map": {}, "bos_token": "a", "chat_template": \
                "\(isDream ? "<|im_start|>" : "<|start_header_id|>")", "clean_up_tokenization_spaces": false,
                 "cls_token": "[CLS]", "eos_token": "b", "errors": "replace", "fast_tokenizer": true, "mask_token": "m",
                 "gmask_token": "[gMASK]", "merges_file": null, "model_input_names": ["input_ids"],
                 "model_max_length": 131072, "pad_token": "b", "split_special_tokens": false,
                 "tokenizer_class": "PreTrainedTokenizerFast", "trust_remote_code": true, "unk_token": null}
                """), as: "model/tokenizer_config.json")
        let model = try Model(path)
        #expect(try texts(model, "unknown_keys") == [] && texts(model, "assumptions") == [])
    }

    @Test(arguments: ["fashion-uvit", "fashion-var", "fashion-var/refiner", "tiny-llada"])
    func bundledModelsLeaveNothingUnknown(_ name: String) throws {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let model = try Model(package.appendingPathComponent("Models/\(name)").path)
        #expect(try texts(model, "unknown_keys") == [])
    }

    // MARK: Unknown keys

    @Test func unknownKeysAreToldOfEveryFile() throws {
        let pipeline = try TinyPipeline(
            index: ["new_part": .array([.string("a")])], transformer: ["new_norm": .bool(true)],
            vae: ["new_scale": .number(2)])
        let model = try Model(pipeline.path)
        #expect(
            try texts(model, "unknown_keys") == [
                "model_index.json: new_part", "transformer/config.json: new_norm", "vae/config.json: new_scale",
            ])
        let directory = try ScratchDirectory()
        let tiny = TinyLanguageModel()
        let path = try tiny.write(to: directory)
        try directory.write(changed(tiny.config, ["new": .object(["a": .integer(1)])]), as: "model/config.json")
        try directory.write(.object(["new_penalty": .number(2)]), as: "model/generation_config.json")
        #expect(
            try texts(Model(path), "unknown_keys") == ["config.json: new", "generation_config.json: new_penalty"])
    }

    @Test func keysInsideOfObjectsAreToldWithTheirPlace() throws {
        let directory = try ScratchDirectory()
        let dit = TinyDiT()
        let path = try dit.write(directory)
        guard case .object(var members) = dit.config else { return }
        members["family"] = nil
        members["new"] = .integer(3)
        try directory.write(
            .object([
                "family": .string("dit"), "model": .object(members),
                "diffusion": .object(["beta_start": .number(1e-4), "new": .null, "newer": .bool(false)]),
            ]), as: "model/config.json")
        #expect(try texts(Model(path), "unknown_keys") == ["config.json: diffusion.newer", "config.json: model.new"])
    }

    @Test func defaultsAreToldToo() throws {
        var tiny = TinyLanguageModel()
        tiny.isDream = true
        let directory = try ScratchDirectory()
        let path = try tiny.write(to: directory)
        try directory.write(changed(tiny.config, ["rope_theta": .null]), as: "model/config.json")
        let description = try JSONObject(Model(path).description, source: "description")
        let defaults = try description.object("defaults").object("config.json")
        #expect(try defaults.number("rope_theta", in: 0...1e9) == 10000 && !defaults.has("rms_norm_eps"))
    }

    // MARK: Refusals

    private enum Kind: String, CaseIterable { case index, transformer, vae, official, llada, dream, `var`, vqvae }

    /// A value of each setting that would change results.
    private static let refused: [(kind: Kind, key: String, value: String)] = [
        (.index, "_class_name", "\"PixArtAlphaPipeline\""),
        (.transformer, "activation_fn", "\"geglu\""), (.transformer, "norm_type", "\"ada_norm_single\""),
        (.transformer, "norm_elementwise_affine", "true"), (.transformer, "attention_bias", "false"),
        (.transformer, "attention_type", "\"gated\""), (.transformer, "double_self_attention", "true"),
        (.transformer, "only_cross_attention", "true"), (.transformer, "cross_attention_dim", "768"),
        (.transformer, "caption_channels", "4096"), (.transformer, "interpolation_scale", "2"),
        (.transformer, "use_additional_conditions", "true"), (.transformer, "num_vector_embeds", "8"),
        (.transformer, "quantization_config", "{\"quant_method\": \"bitsandbytes\"}"),
        (.official, "quantization_config", "{}"), (.official, "null_class", "3"), (.official, "qk_norm", "true"),
        (.vae, "act_fn", "\"relu\""),
        (.vae, "down_block_types", "[\"DownEncoderBlock2D\", \"AttnDownEncoderBlock2D\"]"),
        (.vae, "up_block_types", "[\"AttnUpDecoderBlock2D\"]"),
        (.llada, "block_type", "\"sequential\""), (.llada, "activation_type", "\"swiglu\""),
        (.llada, "layer_norm_type", "\"default\""), (.llada, "include_bias", "true"), (.llada, "alibi", "true"),
        (.llada, "attention_layer_norm", "true"), (.llada, "bias_for_layer_norm", "true"),
        (.llada, "input_emb_norm", "true"), (.llada, "scale_logits", "true"), (.llada, "rope", "false"),
        (.llada, "layer_norm_with_affine", "false"), (.llada, "clip_qkv", "8"),
        (.llada, "quantization_config", "{\"quant_method\": \"gptq\"}"),
        (.dream, "hidden_act", "\"gelu\""), (.dream, "use_sliding_window", "true"), (.dream, "mlp_bias", "true"),
        (.dream, "layer_types", "[\"full_attention\", \"sliding_attention\"]"), (.dream, "use_mrope", "true"),
        (.dream, "rope_scaling", "{\"rope_type\": \"yarn\"}"), (.dream, "final_logit_softcapping", "30"),
        (.dream, "partial_rotary_factor", "0.5"), (.dream, "is_causal", "true"), (.dream, "num_experts", "8"),
        (.var, "quantization", "{}"), (.vqvae, "quant_conv_ks", "1"), (.vqvae, "in_channels", "1"),
        (.vqvae, "using_mid_sa", "false"), (.vqvae, "double_z", "true"), (.vqvae, "default_qresi_counts", "7"),
    ]

    /// Opens a tiny model with these settings in one of its files.
    private func open(_ kind: Kind, _ others: [String: JSON]) throws {
        let directory = try ScratchDirectory()
        switch kind {
        case .index, .transformer, .vae:
            let pipeline = try TinyPipeline(
                index: kind == .index ? others : [:], transformer: kind == .transformer ? others : [:],
                vae: kind == .vae ? others : [:])
            try withExtendedLifetime(pipeline) { _ = try Model(pipeline.path) }
        case .official:
            let path = try TinyDiT().write(directory)
            try directory.write(changed(TinyDiT().config, others), as: "model/config.json")
            _ = try Model(path)
        case .llada, .dream:
            var tiny = TinyLanguageModel()
            tiny.isDream = kind == .dream
            let path = try tiny.write(to: directory)
            try directory.write(changed(tiny.config, others), as: "model/config.json")
            _ = try Model(path)
        case .var, .vqvae:
            let path = try TinyVAR().write(directory)
            let part = kind == .var ? "config.json" : "vae/config.json"
            try directory.write(
                changed(JSON(contentsOf: "\(path)/\(part)"), kind == .var ? others : ["model": .object(others)]),
                as: "var/\(part)")
            _ = try Model(path)
        }
    }

    @Test func settingsThatWouldChangeResultsAreRefusedByName() throws {
        for (kind, key, text) in Self.refused {
            let others = [key: try parsed(text)]
            let error = failure { try open(kind, others) }
            #expect(
                error?.code == .unsupported && error?.message.contains(key) == true,
                "\(kind) \(key) \(text): \(String(describing: error))")
        }
    }

    @Test(arguments: ["adapter_config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json"])
    func filesThatChangeAModelAreRefusedByName(_ name: String) throws {
        let directory = try ScratchDirectory()
        let path = try TinyLanguageModel().write(to: directory)
        try directory.write(.object([:]), as: "model/\(name)")
        let error = failure { _ = try Model(path) }
        #expect(error?.code == .unsupported && error?.message.contains(name) == true)
    }

    // MARK: Files beside a language model

    @Test func endsAndMaskComeFromTheGenerationConfigToo() throws {
        let directory = try ScratchDirectory()
        let tiny = TinyLanguageModel()
        let path = try tiny.write(to: directory)
        try directory.write(changed(tiny.config, ["mask_token_id": .null]), as: "model/config.json")
        #expect(try Model(path).maskToken == nil)
        try directory.write(
            parsed("{\"mask_token_id\": 60, \"eos_token_id\": [1, 7, 9], \"temperature\": 0.2, \"top_p\": 0.95}"),
            as: "model/generation_config.json")
        let model = try Model(path)
        #expect(model.maskToken == 60 && model.endTokens == [1, 7, 9])
        #expect(try texts(model, "unknown_keys") == [])
        #expect(try texts(model, "assumptions").first?.contains("temperature, top_p") == true)
        try directory.write(parsed("{\"mask_token_id\": 61}"), as: "model/generation_config.json")
        #expect(failure { _ = try Model(path) }?.code == .format)
    }

    @Test func aTokenizerConfigThatChangesTextsIsRefused() throws {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let bundled = package.appendingPathComponent("Models/tiny-llada").path
        let directory = try ScratchDirectory()
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            try FileManager.default.copyItem(atPath: "\(bundled)/\(name)", toPath: directory.file(name))
        }
        for key in [
            "clean_up_tokenization_spaces", "add_prefix_space", "add_bos_token", "add_eos_token",
            "split_special_tokens",
        ] {
            try directory.write(.object([key: .bool(true)]), as: "tokenizer_config.json")
            let model = try Model(directory.path)
            let error = failure { _ = try model.tokenizer }
            #expect(error?.code == .unsupported && error?.message.contains(key) == true)
            try directory.write(.object([key: .bool(false)]), as: "tokenizer_config.json")
            #expect(failure { _ = try Model(directory.path).tokenizer } == nil)
        }
        try directory.write(.object(["chat_template": .string("{{ '<|im_start|>' }}")]), as: "tokenizer_config.json")
        #expect(try texts(Model(directory.path), "assumptions").first?.contains("chat_template") == true)
    }
}

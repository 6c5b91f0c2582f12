import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct UNetConfigurationTests {
    private func read(_ changes: [String: JSON]) throws -> UNetConfiguration {
        try UNetConfiguration(JSONObject(TinyUNet().config(changes), source: "config.json"))
    }

    private func list(_ values: Int...) -> JSON { .array(values.map { .integer($0) }) }

    @Test func publishedDefaults() throws {
        let c = try UNetConfiguration(JSONObject(.object([:]), source: "config.json"))
        #expect(c.down.map(\.channels) == [320, 640, 1280, 1280] && c.up.map(\.channels) == [1280, 1280, 640, 320])
        #expect(c.down.map(\.heads) == [8, 8, 8, 8] && c.textWidth == 1280 && c.timeWidth == 1280)
        #expect(
            c.down.map { $0.transformers.count } == [2, 2, 2, 2] && c.up.map { $0.transformers.count } == [3, 3, 3, 3])
        #expect(
            c.down.map { $0.transformers[0] } == [1, 1, 1, nil] && c.up.map { $0.transformers[0] } == [nil, 1, 1, 1])
        #expect(c.middle == .transformer(blocks: 1) && c.sampleSide == 64 && c.groups == 32 && c.cosinesFirst)
        #expect(c.addition == nil && c.guidanceFeatures == nil)
    }

    @Test func settingsOfEveryForm() throws {
        let text = JSON.string("text_time")
        let c = try read([
            "block_out_channels": list(8, 12, 16), "layers_per_block": list(1, 2, 3),
            "attention_head_dim": list(1, 2, 4),
            "transformer_layers_per_block": .array([.integer(1), list(2, 3), list(4, 5, 6)]),
            "reverse_transformer_layers_per_block": .array([list(6, 5, 4, 3), list(3, 2, 1), .integer(7)]),
            "down_block_types": .array(Array(repeating: .string("CrossAttnDownBlock2D"), count: 3)),
            "up_block_types": .array(Array(repeating: .string("CrossAttnUpBlock2D"), count: 3)),
            "cross_attention_dim": list(12, 12, 12), "sample_size": list(24, 32), "flip_sin_to_cos": .bool(false),
            "addition_embed_type": text, "addition_time_embed_dim": .integer(4),
            "projection_class_embeddings_input_dim": .integer(34), "time_cond_proj_dim": .integer(10),
        ])
        #expect(c.down.map(\.transformers) == [[1], [2, 3], [4, 5, 6]])
        #expect(c.up.map(\.transformers) == [[6, 5, 4, 3], [3, 2, 1], [7, 7]])
        #expect(c.up.map(\.heads) == [4, 2, 1] && c.middle == .transformer(blocks: 4) && c.sampleSide == 32)
        #expect(c.addition?.width == 34 && c.addition?.sizeFeatures == 4 && c.guidanceFeatures == 10 && !c.cosinesFirst)
        #expect(try read(["num_attention_heads": .integer(4), "attention_head_dim": .integer(3)]).down[0].heads == 4)
        #expect(try read(["mid_block_type": .null]).middle == .none)
        #expect(try read(["mid_block_type": .string("UNetMidBlock2D")]).middle == .resnet)
        #expect(try read(["only_cross_attention": .array([.bool(false), .bool(false)])]).textWidth == 12)
    }

    /// Key, value, and whether it is refused as unsupported (else as wrong).
    @Test(arguments: [
        ("center_input_sample", JSON.bool(true), true), ("only_cross_attention", .bool(true), true),
        ("only_cross_attention", .array([.bool(false), .bool(true)]), true),
        ("dual_cross_attention", .bool(true), true),
        ("class_embed_type", .string("timestep"), true), ("num_class_embeds", .integer(10), true),
        ("encoder_hid_dim", .integer(8), true), ("encoder_hid_dim_type", .string("text_proj"), true),
        ("addition_embed_type", .string("text"), true), ("resnet_time_scale_shift", .string("scale_shift"), true),
        ("resnet_skip_time_act", .bool(true), true), ("resnet_out_scale_factor", .number(1.4), true),
        ("mid_block_scale_factor", .integer(2), true), ("time_embedding_type", .string("fourier"), true),
        ("time_embedding_act_fn", .string("silu"), true), ("timestep_post_act", .string("silu"), true),
        ("attention_type", .string("gated"), true), ("class_embeddings_concat", .bool(true), true),
        ("mid_block_only_cross_attention", .bool(true), true), ("cross_attention_norm", .string("layer_norm"), true),
        ("act_fn", .string("gelu"), true), ("mid_block_type", .string("UNetMidBlock2DSimpleCrossAttn"), true),
        ("down_block_types", .array([.string("AttnDownBlock2D"), .string("DownBlock2D")]), true),
        ("up_block_types", .array([.string("UpBlock2D"), .string("ResnetUpsampleBlock2D")]), true),
        ("_class_name", .string("UNet3DConditionModel"), true),
        ("cross_attention_dim", .array([.integer(12), .integer(16)]), true),
        ("conv_in_kernel", .integer(4), true), ("time_cond_proj_dim", .integer(7), true),
        ("norm_num_groups", .null, false), ("norm_num_groups", .integer(3), false), ("freq_shift", .integer(2), false),
        ("block_out_channels", .array([]), false), ("layers_per_block", .array([.integer(1)]), false),
        ("attention_head_dim", .integer(3), false), ("downsample_padding", .integer(2), false),
        ("transformer_layers_per_block", .array([.array([.integer(1)]), .integer(1)]), false),
        ("transformer_layers_per_block", .integer(-1), false), ("addition_embed_type", .string("text_time"), false),
        ("down_block_types", .array([.string("DownBlock2D")]), false), ("sample_size", .integer(0), false),
    ])
    func whatIsNotSupportedIsRefusedByName(_ key: String, _ value: JSON, _ isUnsupported: Bool) throws {
        do {
            _ = try read([key: value])
            Issue.record("\(key): nothing was refused")
        } catch let error as DiffError {
            #expect(error.code == (isUnsupported ? .unsupported : .format))
            #expect(error.message.contains("config.json"))
            let isNamed = error.message.contains(key) || ["conv_in_kernel", "time_cond_proj_dim"].contains(key)
            #expect(isNamed, "\(error.message)")
        }
    }

    @Test func everyTensorThatDoesNotFitIsNamed() throws {
        let tiny = TinyUNet()
        var tensors = try tiny.tensors()
        tensors["up_blocks.0.resnets.1.time_emb_proj.weight"] = nil
        tensors["mid_block.attentions.0.proj_in.weight"] = try Tensor(Array(repeating: 0, count: 64), Shape(8, 8))
        tensors["down_blocks.7.extra"] = try Tensor([1], Shape(1))
        do {
            _ = try load(tiny, tensors)
            Issue.record("it was loaded")
        } catch let error as DiffError {
            for name in [
                "up_blocks.0.resnets.1.time_emb_proj.weight", "mid_block.attentions.0.proj_in.weight",
                "down_blocks.7.extra",
            ] { #expect(error.message.contains(name)) }
        }
        // A config that claims more than the file can hold is refused before anything is built.
        #expect { try load(tiny, nil, ["transformer_layers_per_block": .integer(200)]) } throws: {
            ($0 as? DiffError)?.code == .incompatible
        }
    }
}

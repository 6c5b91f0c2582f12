import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// Text encoders beside what the golden sets record: forms of files, element types, what is refused.
@Suite struct TextEncoderTests {
    private let directory: ScratchDirectory
    private let run = Run(pool: nil, budget: nil)
    private let texts = [[38, 3, 4, 39, 0, 0], [38, 5, 39, 39, 1, 2]]

    init() throws { directory = try ScratchDirectory() }

    private func object(_ config: [String: JSON], _ changes: [String: JSON]) throws -> JSONObject {
        try JSONObject(.object(config.merging(changes) { $1 }), source: "config.json")
    }

    private func table(_ tensors: [String: Tensor]) throws -> TensorTable {
        try directory.write(tensors, as: "model.safetensors")
        return try TensorTable(FileBytes(path: "\(directory.path)/model.safetensors"))
    }

    private func clip(
        _ tiny: TinyCLIPText, _ changes: [String: JSON] = [:], extra: [String: Tensor] = [:],
        options: Weights.Options = Weights.Options()
    ) throws -> CLIPTextEncoder {
        let tensors = try tiny.tensors().merging(extra) { $1 }
        return try CLIPTextEncoder(
            CLIPTextConfiguration(object(tiny.config, changes)), Weights(table(tensors), options: options))
    }

    private func t5(
        _ tiny: TinyT5, _ changes: [String: JSON] = [:], extra: [String: Tensor] = [:], without: [String] = [],
        options: Weights.Options = Weights.Options()
    ) throws -> T5Encoder {
        let tensors = try tiny.tensors().merging(extra) { $1 }.filter { !without.contains($0.key) }
        return try T5Encoder(
            T5Configuration(object(tiny.config, changes)), Weights(table(tensors), options: options))
    }

    private func refuses(_ code: DiffError.Code, _ part: String, _ body: () throws -> Void) {
        let error = #expect(throws: DiffError.self) { try body() }
        #expect(error?.code == code && error?.message.contains(part) ?? false, "\(error?.message ?? "")")
    }

    @Test func bothWaysToNameATowerAreRead() throws {
        var bare = TinyCLIPText()
        bare.isBare = true
        let named = try clip(TinyCLIPText())(texts, run)
        #expect(named.states.array == (try clip(bare)(texts, run).states.array))
        #expect(named.pooled?.shape.dims == [2, 16])
        // Positions by number, which old files have, change nothing.
        let ids = try Tensor([Float](repeating: 7, count: 10), Shape(1, 10))
        let old = try clip(TinyCLIPText(), extra: ["text_model.embeddings.position_ids": ids])(texts, run)
        #expect(old.states.array == named.states.array)
    }

    @Test func theConfigOrElseTheTensorsSayWhetherPooledStatesAreProjected() throws {
        var tiny = TinyCLIPText()
        tiny.isProjected = true
        #expect(try clip(tiny)(texts, run).pooled?.shape.dims == [2, 6])
        #expect(try clip(tiny, ["architectures": .null])(texts, run).pooled?.shape.dims == [2, 6])
        let plain = try clip(tiny, ["architectures": .array([.string("CLIPTextModel")])])
        #expect(try plain(texts, run).pooled?.shape.dims == [2, 16] && plain.pooledWidth == 16)
        let claim: [String: JSON] = ["architectures": .array([.string("CLIPTextModelWithProjection")])]
        refuses(.incompatible, "text_projection.weight") { _ = try clip(TinyCLIPText(), claim) }
    }

    /// The largest token where the config has the id of old files, else the first of the id that it names; else the first of all.
    @Test func aTextEndsWhereTheConfigSays() throws {
        let (tiny, ids) = (TinyCLIPText(), [[5, 9, 7, 9, 3]])
        for (end, position) in [(2, 1), (9, 1), (3, 4), (7, 2), (30, 0)] {
            let output = try clip(tiny, ["eos_token_id": .integer(end)])(ids, run)
            let row = Array(output.states.array[(position * 16)..<((position + 1) * 16)])
            #expect(output.pooled?.array == row, "\(end)")
        }
    }

    @Test(arguments: [WeightType.stored, .f32, .int8], [DType.f32, .f16, .bf16])
    func weightsOfEveryTypeAreTaken(_ kept: WeightType, _ stored: DType) throws {
        func narrow(_ tensors: [String: Tensor]) throws -> [String: Tensor] {
            try tensors.mapValues { try $0.narrowed(to: stored, budget: nil) }
        }
        let options = Weights.Options(type: kept)
        var tiny = TinyCLIPText()
        tiny.isProjected = true
        let expected = try clip(tiny)(texts, run)
        let found = try clip(tiny, extra: narrow(tiny.tensors()), options: options)(texts, run)
        let bound = kept == .int8 ? 0.15 : stored == .f32 ? 0 : stored == .f16 ? 0.01 : 0.08
        #expect(Difference(found.states.array, expected.states.array.map(Double.init)).absolute <= bound)
        let pooled = try #require(expected.pooled)
        #expect(Difference(found.pooled?.array ?? [], pooled.array.map(Double.init)).absolute <= bound)
        let small = TinyT5()
        let states = try t5(small)(texts, run)
        let narrowed = try t5(small, extra: narrow(small.tensors()), options: options)(texts, run)
        #expect(Difference(narrowed.array, states.array.map(Double.init)).absolute <= bound)
    }

    @Test func tokensThatDoNotFitAreRefused() throws {
        let (clip, t5) = (try clip(TinyCLIPText()), try t5(TinyT5()))
        refuses(.shape, "10") { _ = try clip([[Int](repeating: 1, count: 11)], run) }
        for ids in [[], [[]], [[1, 2], [1]]] as [[[Int]]] {
            refuses(.shape, "t") { _ = try clip(ids, run) }
            refuses(.shape, "t") { _ = try t5(ids, run) }
        }
        for token in [-1, 40, .max] {
            refuses(.invalidArgument, "outside") { _ = try clip([[token]], run) }
            refuses(.invalidArgument, "outside") { _ = try t5([[token]], run) }
        }
        for layer in [-1, 3] { refuses(.invalidArgument, "layer") { _ = try clip(texts, hidden: layer, run) } }
        refuses(.shape, "mask") { _ = try t5(texts, mask: [[true]], run) }
        refuses(.invalidArgument, "hides every key") { _ = try t5([[1, 2]], mask: [[false, false]], run) }
    }

    @Test func settingsThatChangeResultsAreRefusedByName() throws {
        for (key, value) in [
            ("hidden_act", JSON.string("gelu_10")), ("is_decoder", .bool(true)), ("num_attention_heads", .integer(3)),
            ("quantization_config", .object(["bits": .integer(4)])), ("hidden_size", .integer(0)),
        ] {
            let error = #expect(throws: DiffError.self) { try clip(TinyCLIPText(), [key: value]) }
            #expect(error?.message.contains("config.json") ?? false, "\(key)")
        }
        for (key, value) in [
            ("feed_forward_proj", JSON.string("gated-maxout")), ("dense_act_fn", .string("silu")),
            ("is_gated_act", .bool(false)), ("relative_attention_num_buckets", .integer(3)),
            ("relative_attention_max_distance", .integer(2)), ("is_decoder", .bool(true)),
        ] {
            let error = #expect(throws: DiffError.self) { try t5(TinyT5(), [key: value]) }
            #expect(error?.message.contains("config.json") ?? false, "\(key)")
        }
        refuses(.incompatible, "layers") { _ = try clip(TinyCLIPText(), ["num_hidden_layers": .integer(4000)]) }
        refuses(.incompatible, "blocks") { _ = try t5(TinyT5(), ["num_layers": .integer(4000)]) }
    }

    @Test func eitherNameOfTheTableIsReadAndTheDecoderIsLeftOut() throws {
        let tiny = TinyT5()
        let expected = try t5(tiny)(texts, run).array
        let shared = try #require(try tiny.tensors()["shared.weight"])
        let (own, decoder) = ("encoder.embed_tokens.weight", try Tensor([1, 2], Shape(2)))
        let beside = ["decoder.block.0.x": decoder, "lm_head.weight": decoder, own: shared]
        #expect(try t5(tiny, extra: beside)(texts, run).array == expected)
        #expect(try t5(tiny, extra: [own: shared], without: ["shared.weight"])(texts, run).array == expected)
        let other = try Tensor(shared.array.map { $0 + 1 }, shared.shape)
        refuses(.incompatible, "differ") { _ = try t5(tiny, extra: [own: other]) }
    }

    /// A mask leaves the numbers of what is seen as they are without what is not.
    @Test func hiddenTokensCountForNothing() throws {
        let encoder = try t5(TinyT5())
        let (short, long) = ([7, 8, 9], [7, 8, 9, 0, 0])
        let alone = try encoder([short], run).array
        let masked = try encoder([long], mask: [[true, true, true, false, false]], run).array
        #expect(Difference(Array(masked.prefix(alone.count)), alone.map(Double.init)).absolute <= 1e-6)
        #expect(Difference(Array(try encoder([long], run).array.prefix(48)), alone.map(Double.init)).absolute > 1e-3)
    }

    /// A dry run has the memory and the operations of a real one; a request to stop is seen inside.
    @Test func dryRunsAndCancelling() throws {
        let (clip, t5) = (try clip(TinyCLIPText()), try t5(TinyT5()))
        for encode in [
            { (run: Run) throws -> Void in _ = try clip(self.texts, run) },
            { (run: Run) throws -> Void in _ = try t5(self.texts, mask: nil, run) },
        ] {
            let (live, dry) = (Run(pool: nil, budget: nil), Run(dryOn: 1))
            for run in [live, dry] { try encode(run) }
            #expect(dry.trace.flops == live.trace.flops && (dry.trace.flops.first ?? 0) > 0)
            #expect(dry.workspace.peakBytes == live.workspace.peakBytes)
            let flag = CancelFlag()
            flag.cancel()
            let error = #expect(throws: DiffError.self) {
                try encode(Run(pool: nil, budget: nil, cancel: flag))
            }
            #expect(error?.code == .cancelled)
        }
    }
}

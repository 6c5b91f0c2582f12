import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// CLAP's text tower, GPT-2 and the projection between them, beside what the golden sets record.
@Suite struct AudioTextTests {
    private let directory: ScratchDirectory
    private let run = Run(pool: nil, budget: nil)
    private let texts = [[0, 9, 8, 7, 2], [0, 5, 2, 1, 1]]
    private let mask = [[true, true, true, true, true], [true, true, true, false, false]]

    init() throws { directory = try ScratchDirectory() }

    private func object(_ config: [String: JSON], _ changes: [String: JSON] = [:]) throws -> JSONObject {
        try JSONObject(.object(config.merging(changes) { $1 }), source: "config.json")
    }

    private func weights(
        _ tensors: [String: Tensor], _ options: Weights.Options = Weights.Options()
    ) throws -> Weights {
        try directory.write(tensors, as: "model.safetensors")
        return Weights(
            try TensorTable(FileBytes(path: "\(directory.path)/model.safetensors")), options: options)
    }

    private func clap(
        _ tiny: TinyCLAPText = TinyCLAPText(), _ changes: [String: JSON] = [:], extra: [String: Tensor] = [:],
        options: Weights.Options = Weights.Options()
    ) throws -> CLAPTextEncoder {
        let tensors = try tiny.tensors().merging(extra) { $1 }
        return try CLAPTextEncoder(
            CLAPTextConfiguration(object(tiny.config, changes)), weights(tensors, options))
    }

    private func gpt2(
        _ tiny: TinyGPT2 = TinyGPT2(), _ changes: [String: JSON] = [:], extra: [String: Tensor] = [:],
        options: Weights.Options = Weights.Options()
    ) throws -> GPT2 {
        let tensors = try tiny.tensors().merging(extra) { $1 }
        return try GPT2(GPT2Configuration(object(tiny.config, changes)), weights(tensors, options))
    }

    private func sequence(_ rows: Int, _ length: Int, seed: UInt64 = 3) throws -> Tensor {
        var numbers = Numbers(seed)
        return try numbers.tensor([rows, length, 16], scale: 1)
    }

    private func refuses(_ code: DiffError.Code, _ part: String, _ body: () throws -> Void) {
        let error = #expect(throws: DiffError.self) { try body() }
        #expect(error?.code == code && error?.message.contains(part) ?? false, "\(error?.message ?? "")")
    }

    private func near(_ found: Tensor, _ expected: Tensor, _ bound: Double = 1e-6) {
        #expect(Difference(found.array, expected.array.map(Double.init)).absolute <= bound)
    }

    @Test func bothFormsOfATowerAreTheSame() throws {
        var tiny = TinyCLAPText()
        let alone = try clap(tiny)
        tiny.isWhole = true
        let plain = try TinyCLAPText().tensors()
        let whole = try clap(tiny, extra: plain)
        #expect(alone.unused.isEmpty && whole.unused == ["audio_model", "audio_projection", "logit_scale_a"])
        #expect(try alone(texts, mask: mask, run).vectors.array == whole(texts, mask: mask, run).vectors.array)
        // What the whole model says of projections holds, not what is in the tower's own part.
        refuses(.shape, "text_projection") { _ = try clap(tiny, ["projection_dim": .integer(7)], extra: plain) }
    }

    @Test func paddingChangesNothingAndVectorsHaveALengthOfOne() throws {
        let encoder = try clap()
        let output = try encoder(texts, mask: mask, run)
        let short = try encoder([Array(texts[1].prefix(3))], run)
        near(short.vectors, try output.vectors.rows(1, 1))
        let row = Array(output.vectors.array.prefix(6))
        #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
        // A padding token within a text has the position of padding, and those behind it do not count it.
        let inside = try encoder([[0, 1, 5, 2]], run), other = try encoder([[0, 6, 5, 2]], run)
        #expect(inside.vectors.array != other.vectors.array)
        #expect(try encoder([[0, 5, 2]], mask: nil, run).vectors.array == short.vectors.array)
    }

    @Test func tokensAndSettingsThatDoNotFitAreRefused() throws {
        let encoder = try clap()
        #expect(encoder.configuration.maxTokens == 10)
        refuses(.shape, "10") { _ = try encoder([[Int](repeating: 5, count: 11)], run) }
        refuses(.invalidArgument, "outside") { _ = try encoder([[40]], run) }
        refuses(.shape, "mask") { _ = try encoder(texts, mask: [[true]], run) }
        for ids in [[], [[]], [[1, 2], [1]]] as [[[Int]]] { refuses(.shape, "t") { _ = try encoder(ids, run) } }
        for (key, value) in [
            ("hidden_act", JSON.string("gelu_10")), ("is_decoder", .bool(true)), ("num_attention_heads", .integer(3)),
            ("position_embedding_type", .string("relative_key")), ("max_position_embeddings", .integer(2)),
            ("projection_hidden_act", .string("snake")), ("pad_token_id", .integer(-1)),
        ] {
            let error = #expect(throws: DiffError.self) { try clap(TinyCLAPText(), [key: value]) }
            #expect(error?.message.contains("config.json") ?? false, "\(key)")
        }
        refuses(.incompatible, "layers") { _ = try clap(TinyCLAPText(), ["num_hidden_layers": .integer(4000)]) }
    }

    /// Vector by vector with what was kept, or all again each time: the same numbers.
    @Test func keptKeysAndValuesAreThoseOfWholePasses() throws {
        let model = try gpt2()
        let sequence = try sequence(2, 6)
        var seen = [[true, true, true, true, true, true], [true, true, false, false, true, true]]
        let made = try model.continued(sequence, mask: seen, by: 4, run)
        var all = sequence
        for step in 0..<4 {
            let states = try model(all, mask: seen, run)
            let last = try run.tokens(states, states.shape[1] - 1, 1)
            near(try run.tokens(made, step, 1), last, 2e-6)
            all = try run.joinedTokens(all, last)
            seen = seen.map { $0 + [true] }
        }
        // What is hidden counts for nothing, and positions are counted all the same.
        let other = try run.copy(sequence)
        if let values = other.floats { for index in 0..<32 { values[(6 + 2) * 16 + index] = 9 } }
        let hidden = try model.continued(other, mask: seen.map { Array($0.prefix(6)) }, by: 4, run)
        #expect(hidden.array == made.array)
    }

    @Test func bothFormsOfALanguageModelAreTheSame() throws {
        var headed = TinyGPT2()
        headed.prefix = "transformer."
        let beside = [
            "lm_head.weight": try Tensor([1, 2], Shape(1, 2)), "transformer.wte.weight": try Tensor([1], Shape(1, 1)),
        ]
        let plain = try TinyGPT2().tensors()
        let renamed = Dictionary(uniqueKeysWithValues: plain.map { ("transformer.\($0.key)", $0.value) })
        let model = try gpt2(headed, extra: renamed.merging(beside) { $1 })
        let sequence = try sequence(1, 5)
        let mask = [[Bool](repeating: true, count: 5)]
        let expected = try gpt2().continued(sequence, mask: mask, by: 3, run)
        #expect(try model.continued(sequence, mask: mask, by: 3, run).array == expected.array)
        // Switches of scale change results.
        for change in [["scale_attn_weights": JSON.bool(false)], ["scale_attn_by_inverse_layer_idx": .bool(true)]] {
            let other = try gpt2(TinyGPT2(), change).continued(sequence, mask: mask, by: 3, run)
            #expect(Difference(other.array, expected.array.map(Double.init)).absolute > 1e-5)
        }
    }

    @Test(arguments: [WeightType.stored, .f32, .int8], [DType.f32, .f16, .bf16])
    func weightsOfEveryTypeAreTaken(_ kept: WeightType, _ stored: DType) throws {
        func narrow(_ tensors: [String: Tensor]) throws -> [String: Tensor] {
            try tensors.mapValues { try $0.narrowed(to: stored, budget: nil) }
        }
        let options = Weights.Options(type: kept)
        let bound = kept == .int8 ? 0.2 : stored == .f32 ? 0 : stored == .f16 ? 0.02 : 0.12
        let expected = try clap()(texts, mask: mask, run).vectors
        let found = try clap(TinyCLAPText(), extra: narrow(TinyCLAPText().tensors()), options: options)
        near(try found(texts, mask: mask, run).vectors, expected, bound)
        let sequence = try sequence(1, 5)
        let all = [[Bool](repeating: true, count: 5)]
        let vectors = try gpt2().continued(sequence, mask: all, by: 3, run)
        let narrowed = try gpt2(TinyGPT2(), extra: narrow(TinyGPT2().tensors()), options: options)
        near(try narrowed.continued(sequence, mask: all, by: 3, run), vectors, 4 * bound)
    }

    @Test func sequencesAndSettingsThatDoNotFitAreRefused() throws {
        let model = try gpt2()
        let sequence = try sequence(1, 5)
        let mask = [[Bool](repeating: true, count: 5)]
        for (count, part) in [(0, "continue"), (-1, "continue"), (20, "positions"), (Int.max, "positions")] {
            refuses(.shape, part) { _ = try model.continued(sequence, mask: mask, by: count, run) }
        }
        refuses(.shape, "mask") { _ = try model.continued(sequence, mask: [[true]], by: 1, run) }
        refuses(.shape, "16") {
            _ = try model.continued(Tensor([1, 2], Shape(1, 1, 2)), mask: [[true]], by: 1, run)
        }
        refuses(.invalidArgument, "hides every key") {
            _ = try model.continued(sequence, mask: [[Bool](repeating: false, count: 5)], by: 1, run)
        }
        for (key, value) in [
            ("activation_function", JSON.string("snake")), ("n_head", .integer(5)), ("max_new_tokens", .integer(0)),
            ("add_cross_attention", .bool(true)), ("n_embd", .integer(0)),
        ] {
            let error = #expect(throws: DiffError.self) { try gpt2(TinyGPT2(), [key: value]) }
            #expect(error?.message.contains("config.json") ?? false, "\(key)")
        }
        refuses(.incompatible, "blocks") { _ = try gpt2(TinyGPT2(), ["n_layer": .integer(4000)]) }
        refuses(.format, "max_seq_length") {
            _ = try AudioProjectionConfiguration(
                object([
                    "text_encoder_dim": 4, "text_encoder_1_dim": 4, "langauge_model_dim": 4,
                    "use_learned_position_embedding": .bool(false),
                ]))
        }
    }

    /// A dry run has the memory and the operations of a real one; a request to stop is seen inside.
    @Test func dryRunsAndCancelling() throws {
        let (clap, model) = (try clap(), try gpt2())
        let sequence = try sequence(2, 5)
        let all = [[Bool]](repeating: [Bool](repeating: true, count: 5), count: 2)
        for encode in [
            { (run: Run) throws -> Void in _ = try clap(self.texts, mask: self.mask, run) },
            { (run: Run) throws -> Void in _ = try model.continued(sequence, mask: all, by: 3, run) },
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

    /// A matrix the other way round, whatever its sides and its type.
    @Test(arguments: [(1, 1), (3, 70), (64, 32), (33, 95)], [DType.f32, .f16])
    func transposedMatrices(_ sides: (Int, Int), _ type: DType) throws {
        let values = (0..<sides.0 * sides.1).map { Float($0 % 1000) }
        let matrix = try Tensor(values, Shape(sides.0, sides.1)).narrowed(to: type, budget: nil)
        let turned = try matrix.transposed(budget: nil)
        #expect(turned.shape.dims == [sides.1, sides.0] && turned.dtype == type)
        let found = try turned.widened(budget: nil).array
        let expected = (0..<sides.1).flatMap { column in (0..<sides.0).map { values[$0 * sides.1 + column] } }
        #expect(found == expected)
        #expect(try turned.transposed(budget: nil).widened(budget: nil).array == values)
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// A network loaded from tensors written to a file of its own.
func load(
    _ tensors: [String: Tensor], _ config: JSON, _ conventions: DiTConventions = .official, type: WeightType = .stored
) throws -> DiT {
    let directory = try ScratchDirectory()
    try directory.write(tensors, as: "weights.safetensors")
    let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
    let configuration = try DiTConfiguration(
        JSONObject(config, source: "config.json"), conventions: conventions)
    return try DiT(configuration, Weights(table, options: .init(type: type)))
}

/// A pass over two samples of different times and labels.
func forward(_ network: DiT, threads: Int = 1) throws -> [Float] {
    var numbers = Numbers(99)
    let c = network.configuration
    let run = Run(pool: try WorkerPool(threads: threads), budget: nil)
    try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 2))
    let x = try numbers.tensor([2, c.inChannels, c.inputSize, c.inputSize])
    return try network(x, t: Tensor([3, 971], Shape(2)), y: [0, c.classes - 1], run).array
}

@Suite struct DiTTests {
    @Test(arguments: DiTConventions.allCases)
    func bothLayoutsAreOneNetwork(_ conventions: DiTConventions) throws {
        let tiny = TinyDiT()
        var official = try tiny.tensors()
        // diffusers stores no position table: both compute it.
        official["pos_embed"] = nil
        let a = try load(official, tiny.config, conventions)
        var diffusersConfig = tiny.diffusersConfig
        if case .object(var members) = diffusersConfig {
            // The official config has no second epsilon; with equal ones every bit is the same.
            members["norm_eps"] = .number(1e-6)
            diffusersConfig = .object(members)
        }
        let b = try load(tiny.diffusersTensors(official), diffusersConfig, conventions)
        #expect(try sameBits(forward(a), forward(b)))
        #expect(
            a.configuration.width == b.configuration.width && a.configuration.nullClass == b.configuration.nullClass)
        #expect(a.sublayers.count == 2 * tiny.depth && b.sublayers.count == 2 * tiny.depth)
        #expect(
            b.layout.site(named: "transformer_blocks.1.attn1") != nil && a.layout.site(named: "blocks.1.attn") != nil)
    }

    @Test func theConventionsDifferByALittle() throws {
        let tiny = TinyDiT()
        let tensors = try tiny.tensors()
        let official = try forward(load(tensors, tiny.config, .official))
        let diffusers = try forward(load(tensors, tiny.config, .diffusers))
        let difference = Difference(diffusers, official)
        #expect(difference.relative > 1e-4 && difference.relative < 0.5, "\(difference)")
    }

    @Test func theStoredPositionTableIsUsed() throws {
        let tiny = TinyDiT()
        var tensors = try tiny.tensors()
        let stored = try forward(load(tensors, tiny.config))
        tensors["pos_embed"] = nil
        let computed = try forward(load(tensors, tiny.config))
        #expect(Difference(stored, computed).relative > 1e-3)
        tensors["pos_embed"] = try sinCosPositions(width: tiny.width, grid: tiny.grid).reshaped(
            Shape(1, tiny.grid * tiny.grid, tiny.width))
        #expect(try sameBits(forward(load(tensors, tiny.config)), computed))
    }

    /// A narrow weight counts as the f32 value it stands for; only the order of sums may differ, which moves outputs by
    /// a few units in the last place per layer.
    @Test(arguments: [DType.f16, .bf16])
    func narrowWeightsAreTheirValues(_ type: DType) throws {
        let tiny = TinyDiT()
        var (narrow, wide): ([String: Tensor], [String: Tensor]) = ([:], [:])
        for (name, tensor) in try tiny.tensors() {
            narrow[name] = try tensor.narrowed(type)
            wide[name] = try narrow[name]?.widened(budget: nil)
        }
        let expected = try forward(load(wide, tiny.config))
        #expect(try sameBits(forward(load(narrow, tiny.config, type: .f32)), expected))
        #expect(try Difference(forward(load(narrow, tiny.config)), expected).relative < 1e-5)
    }

    @Test func samplesOfABatchDoNotAffectEachOther() throws {
        let tiny = TinyDiT()
        let network = try load(tiny.tensors(), tiny.config)
        var numbers = Numbers(5)
        let x = try numbers.tensor([3, tiny.inChannels, tiny.inputSize, tiny.inputSize])
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 3))
        let batch = try network(x, t: Tensor([1, 500, 999], Shape(3)), y: [0, 3, 5], run)
        for (row, (t, y)) in [(Float(1), 0), (500, 3), (999, 5)].enumerated() {
            let one = try network(x.rows(row, 1), t: Tensor([t], Shape(1)), y: [y], run)
            // Fewer rows may take another kernel; the sums are of the same terms.
            #expect(try Difference(batch.rows(row, 1).array, one.array).relative < 1e-5)
        }
    }

    @Test func threadsDoNotChangeABit() throws {
        let tiny = TinyDiT()
        let network = try load(tiny.tensors(), tiny.config)
        #expect(try sameBits(forward(network, threads: 1), forward(network, threads: 2)))
    }

    @Test func everyBlockSiteIsVisitedInOrder() throws {
        let tiny = TinyDiT()
        let network = try load(tiny.tensors(), tiny.config)
        let probe = SiteProbe()
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
        var numbers = Numbers(5)
        let x = try numbers.tensor([1, 4, 8, 8])
        let traced = try network(x, t: Tensor([4], Shape(1)), y: [0], run).array
        #expect(
            probe.visited.map { network.layout.info($0).name } == [
                "blocks.0", "blocks.0.attn", "blocks.0.mlp", "blocks.1", "blocks.1.attn", "blocks.1.mlp",
            ])
        let plain = Run(pool: nil, budget: nil)
        try plain.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
        #expect(try sameBits(network(x, t: Tensor([4], Shape(1)), y: [0], plain).array, traced))
    }

    @Test func wrongInputsAreRefused() throws {
        let tiny = TinyDiT()
        let network = try load(tiny.tensors(), tiny.config)
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
        let t = try Tensor([1], Shape(1))
        let x = try run.filled(256, with: 0).reshaped(Shape(1, 4, 8, 8))
        #expect { try network(x.reshaped(Shape(4, 1, 8, 8)), t: t, y: [0], run) } throws: {
            ($0 as? DiffError)?.code == .shape
        }
        #expect { try network(x.reshaped(Shape(256)), t: t, y: [0], run) } throws: {
            ($0 as? DiffError)?.code == .shape
        }
        #expect { try network(x, t: t, y: [0, 1], run) } throws: { ($0 as? DiffError)?.code == .shape }
        for label in [-1, 6, .max] {
            #expect { try network(x, t: t, y: [label], run) } throws: { ($0 as? DiffError)?.code == .invalidArgument }
        }
    }
}

@Suite struct DiTLoadingTests {
    /// Sizes and parameter counts of the DiT paper's models with 32 x 32 latents; patches of 4 and 8 are counted by hand:
    /// the projections in and out grow with the patch, the position table shrinks.
    @Test(arguments: [
        ("S", 12, 384, 6, 32_963_360), ("B", 12, 768, 12, 130_512_416), ("L", 24, 1024, 16, 458_102_816),
        ("XL", 28, 1152, 16, 675_129_632),
    ])
    func thePublishedSizesLoad(_ name: String, _ depth: Int, _ width: Int, _ heads: Int, _ parameters: Int) throws {
        for patch in [2, 4, 8] {
            var full = TinyDiT()
            (full.inputSize, full.patchSize, full.width, full.depth, full.heads) = (32, patch, width, depth, heads)
            full.classes = 1000
            let directory = try ScratchDirectory()
            let path = try directory.file("weights.safetensors")
            try VirtualCheckpoint.write(full.shapes, to: path)
            let table = try TensorTable(FileBytes(path: path))
            let count = table.names.reduce(0) { $0 + (table.info($1)?.shape.count ?? 0) }
            let tokens = (32 / patch) * (32 / patch)
            let inOut = width * 4 * patch * patch + patch * patch * 8 * (width + 1)
            #expect(count == parameters + (tokens - 256) * width + inOut - (width * 16 + 32 * (width + 1)))
            let configuration = try DiTConfiguration(JSONObject(full.config, source: "config.json"))
            let network = try DiT(configuration, Weights(table, options: .init(dryRun: true)))
            #expect(network.layout.blockCount == depth && network.sublayers.count == 2 * depth)
            #expect(configuration.tokens == tokens && configuration.nullClass == 1000)
            guard patch == 2 else { continue }
            #expect(count == parameters)
            // Multiply-adds of one pass for one sample: 4D²T + 2T²D an attention, 8D²T an MLP, and little else.
            let run = Run(dryOn: 1)
            try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
            let x = try run.workspace.take(Shape(1, 4, 32, 32))
            let out = try network(x, t: run.filled(1, with: 0), y: [0], run)
            #expect(out.shape == (try Shape(1, 8, 32, 32)))
            let (d, t) = (Double(width), Double(tokens))
            let blocks = Double(depth) * (12 * d * d * t + 2 * t * t * d + 6 * d * d)
            #expect(abs(run.trace.flops[0] / 2 - blocks) < 0.02 * blocks)
        }
    }

    @Test func whatDoesNotFitIsNamed() throws {
        let tiny = TinyDiT()
        var tensors = try tiny.tensors()
        tensors["blocks.1.attn.proj.bias"] = nil
        tensors["extra.weight"] = try Tensor([1], Shape(1))
        do {
            _ = try load(tensors, tiny.config)
            Issue.record("loaded")
        } catch {
            #expect((error as? DiffError)?.code == .incompatible)
            #expect("\(error)".contains("blocks.1.attn.proj.bias") && "\(error)".contains("extra.weight"))
        }
        tensors = try tiny.tensors()
        tensors["blocks.0.mlp.fc1.weight"] = try Tensor([1, 2], Shape(2, 1))
        do {
            _ = try load(tensors, tiny.config)
            Issue.record("loaded")
        } catch {
            #expect((error as? DiffError)?.code == .shape)
            #expect("\(error)".contains("blocks.0.mlp.fc1.weight") && "\(error)".contains("[96, 24]"))
        }
    }

    @Test func aModelWithoutNullClassLoads() throws {
        var tiny = TinyDiT()
        (tiny.hasNullClass, tiny.learnsSigma) = (false, false)
        let network = try load(tiny.tensors(), tiny.config)
        #expect(network.configuration.nullClass == nil && network.configuration.outChannels == 4)
        #expect(try forward(network).count == 2 * 4 * 64)
    }

    /// Each config differs from a good one by one value that no model can have.
    @Test(arguments: [
        ("hidden_size", JSON.integer(25)), ("hidden_size", .integer(0)), ("hidden_size", .integer(1 << 40)),
        ("hidden_size", .string("24")), ("hidden_size", .number(24.5)), ("hidden_size", .null),
        ("num_heads", .integer(5)),
        ("num_heads", .integer(0)), ("depth", .integer(0)), ("depth", .integer(-1)), ("depth", .integer(1_000_000)),
        ("input_size", .integer(7)), ("input_size", .integer(0)), ("patch_size", .integer(3)),
        ("patch_size", .integer(0)),
        ("in_channels", .integer(0)), ("num_classes", .integer(0)), ("num_classes", .integer(.max)),
        ("mlp_ratio", .number(0)), ("mlp_ratio", .number(1e9)), ("learn_sigma", .integer(2)),
        ("class_dropout_prob", .number(2)), ("frequency_embedding_size", .integer(255)),
    ])
    func badConfigsAreFormatErrors(_ key: String, _ value: JSON) throws {
        guard case .object(var members) = TinyDiT().config else { return }
        members[key] = value
        #expect("\(key) \(value)") {
            try DiTConfiguration(JSONObject(.object(members), source: "config.json"))
        } throws: {
            ($0 as? DiffError)?.code == .format
        }
    }

    @Test(arguments: [
        ("num_attention_heads", JSON.integer(0), DiffError.Code.format), ("attention_head_dim", .integer(0), .format),
        ("attention_head_dim", .integer(65536), .format), ("out_channels", .integer(5), .format),
        ("norm_eps", .number(-1), .format), ("activation_fn", .string("gelu"), .unsupported),
        ("norm_type", .string("layer_norm"), .unsupported), ("num_layers", .null, .format),
    ])
    func badDiffusersConfigsAreRefused(_ key: String, _ value: JSON, _ code: DiffError.Code) throws {
        guard case .object(var members) = TinyDiT().diffusersConfig else { return }
        members[key] = value
        #expect("\(key) \(value)") {
            try DiTConfiguration(JSONObject(.object(members), source: "config.json"))
        } throws: {
            ($0 as? DiffError)?.code == code
        }
    }
}

@Suite struct PositionTests {
    @Test func theColumnComesFirstAndSinesBeforeCosines() throws {
        let table = try sinCosPositions(width: 8, grid: 4)
        #expect(table.shape == (try Shape(16, 8)))
        let one: [Float] = [0.841471, 0.01, 0.540302, 0.99995, 0, 0, 1, 1]
        // The check values are given to six digits.
        #expect(try Difference(table.rows(1, 1).array, one).absolute < 1e-6)
        #expect(try Difference(table.rows(4, 1).array, Array(one[4...] + one[..<4])).absolute < 1e-6)
        #expect(try table.rows(0, 1).array == [0, 0, 1, 1, 0, 0, 1, 1])
    }

    @Test(arguments: [(0, 4), (6, 4), (8, 0), (-4, 4)])
    func widthsThatCannotBeSplitAreRefused(_ width: Int, _ grid: Int) {
        #expect { try sinCosPositions(width: width, grid: grid) } throws: {
            ($0 as? DiffError)?.code == .invalidArgument
        }
    }
}

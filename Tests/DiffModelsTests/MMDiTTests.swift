import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct MMDiTTests {
    /// What diffusers 0.42 (`SD3Transformer2DModel`) gives for the same weights and inputs: every 24th value.
    private static let recorded: [(name: String, values: [Float])] = [
        (
            "plain",
            [
                -0.2404035, -0.2107249, 1.3226548, -0.3508771, 0.4419380, 1.3898251, 0.9099402, -0.0071879, -0.5724334,
                -0.1896998, 0.5410509, 0.7375001, 1.7684555, -0.0587934, -0.3120154, 0.8390167,
            ]
        ),
        (
            "rms_norm",
            [
                0.3415976, 0.7267333, 0.9526701, -0.5578197, -0.4476904, 0.0092136, 1.6496874, 0.9095555, 0.2351658,
                0.4631284, 0.5713715, 0.2877191, 0.6464620, -0.5002909, 0.3550547, 1.2863023,
            ]
        ),
        (
            "dual attention",
            [
                0.1652538, 0.3580633, 1.3344308, 0.2537095, 0.0234437, 0.3698798, 0.3968759, -0.1409826, -0.1443834,
                -0.0068195, 0.7938461, 1.0240010, 0.9931747, 0.3663591, -0.2978716, -0.0242902,
            ]
        ),
        (
            "computed positions",
            [
                0.2487592, -0.4970541, 1.3357098, 1.7438061, 0.9365930, 0.8972161, 0.9027249, 1.9701564, -1.2683550,
                -0.5846613, 1.2950851, 1.0732489, 0.3754658, 0.1740643, 1.6069137, 1.4532366,
            ]
        ),
    ]

    @Test(arguments: 0..<4)
    func predictsWhatDiffusersDoes(_ form: Int) throws {
        let tiny = tinyMMDiT(form)
        let found = try forward(load(tiny), MMDiTInputs(tiny))
        let every = stride(from: 0, to: found.count, by: 24).map { found[$0] }
        let difference = Difference(every, Self.recorded[form].values)
        #expect(difference.absolute < 2e-5, "\(Self.recorded[form].name): \(difference)")
    }

    @Test(arguments: [1, 2])
    func fusedProjectionsAreTheSameNetwork(_ form: Int) throws {
        let tiny = tinyMMDiT(form)
        let (tensors, inputs) = (try tiny.tensors(), try MMDiTInputs(tiny))
        let expected = try forward(load(tiny, tensors), inputs)
        let fused = try TinyMMDiT.fused(tensors)
        #expect(fused["transformer_blocks.0.attn.to_q.weight"] == nil)
        #expect(try sameBits(forward(load(tiny, fused), inputs), expected))
        // Saved with both.
        let both = tensors.merging(fused) { first, _ in first }
        #expect(try sameBits(forward(load(tiny, both), inputs), expected))
    }

    @Test(arguments: [DType.f32, .bf16], [1, 2])
    func aBatchHasTheBitsOfItsSamples(_ type: DType, _ form: Int) throws {
        let tiny = tinyMMDiT(form)
        var tensors = try tiny.tensors()
        if type != .f32 { for (name, tensor) in tensors { tensors[name] = try tensor.narrowed(type) } }
        let (network, inputs) = (try load(tiny, tensors), try MMDiTInputs(tiny))
        let batch = try forward(network, inputs, threads: 2)
        let rows = try forward(network, inputs.row(0)) + forward(network, inputs.row(1), threads: 3)
        #expect(sameBits(batch, rows))
    }

    @Test func preparedConditioningIsTakenApartBySamples() throws {
        let tiny = tinyMMDiT(0)
        let (network, inputs) = (try load(tiny), try MMDiTInputs(tiny))
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 2))
        var conditioning = Conditioning(states: inputs.states)
        conditioning.pooled = inputs.pooled
        let prepared = try network.prepare(conditioning, run)
        let second = try network(inputs.x.rows(1, 1), t: inputs.t.rows(1, 1), prepared.rows(1, 1), run)
        #expect(try sameBits(second.array, forward(network, inputs.row(1))))
    }

    @Test(arguments: ["transformer_blocks.1", "transformer_blocks.2"])
    func aPrunedBlockIsOneThatIsNotThere(_ name: String) throws {
        var tiny = tinyMMDiT(2)
        tiny.depth = 4
        tiny.dualAttention = [0, 1]
        let (network, inputs) = (try load(tiny), try MMDiTInputs(tiny))
        let left = try #require(network.layout.site(named: name).flatMap { network.layout.info($0).block })
        let pruned = try forward(network, inputs, [LeftOut(left)])
        var tensors: [String: Tensor] = [:]
        for (name, tensor) in try tiny.tensors() {
            let parts = name.split(separator: ".")
            guard parts[0] == "transformer_blocks", let index = Int(parts[1]) else {
                tensors[name] = tensor
                continue
            }
            if index == left { continue }
            let rest = parts.dropFirst(2).joined(separator: ".")
            tensors["transformer_blocks.\(index > left ? index - 1 : index).\(rest)"] = tensor
        }
        tiny.depth = 3
        tiny.dualAttention = left == 1 ? [0] : [0, 1]
        #expect(try sameBits(forward(load(tiny, tensors), inputs), pruned))
        #expect(try !sameBits(forward(network, inputs), pruned))
    }

    /// Outputs of sub-layers are taken before their gates, so one that is used again at another time meets the gate of that time.
    @Test func keptSublayersStandForComputedOnes() throws {
        let tiny = tinyMMDiT(2)
        let (network, inputs) = (try load(tiny), try MMDiTInputs(tiny))
        let keeper = Keeper()
        let computed = try forward(network, inputs, [keeper])
        #expect(keeper.kept.count == 3 * 3 + 2 - 1 + 2 - 2)
        #expect(try sameBits(forward(network, inputs, [keeper]), computed))
        var later = inputs
        later.t = try Tensor([500, 500], Shape(2))
        let reused = try forward(network, later, [keeper])
        #expect(try !sameBits(reused, computed) && !sameBits(reused, forward(network, later)))
    }

    @Test func whatEveryNetworkMustSayIsChecked() throws {
        for (key, value, code) in [
            ("caption_projection_dim", JSON.integer(12), DiffError.Code.format),
            ("qk_norm", .string("layer_norm"), .format),
            ("patch_size", .integer(3), .format), ("attention_head_dim", .integer(0), .format),
            ("pos_embed_max_size", .integer(0), .format),
            ("_class_name", .string("FluxTransformer2DModel"), .unsupported),
            ("pos_embed_type", .null, .internal),
        ] {
            guard case .object(var members) = TinyMMDiT().config else { return }
            members[key] = value
            let config = JSON.object(members)
            if code == .internal {
                #expect(throws: Never.self) { try MMDiTConfiguration(JSONObject(config, source: "config.json")) }
                continue
            }
            #expect("\(key)") { try MMDiTConfiguration(JSONObject(config, source: "config.json")) } throws: {
                ($0 as? DiffError)?.code == code
            }
        }
        // More blocks than tensors, and a table of positions that is not the config's.
        var tiny = tinyMMDiT(0)
        let tensors = try tiny.tensors()
        tiny.positionsSide = 7
        #expect { try load(tiny, tensors) } throws: { ($0 as? DiffError)?.code == .shape }
        tiny.depth = 4000
        #expect { try load(tiny, tensors) } throws: { ($0 as? DiffError)?.code == .incompatible }
    }

    @Test func quantisedWeightsPredictNearlyTheSame() throws {
        let tiny = tinyMMDiT(2)
        let inputs = try MMDiTInputs(tiny)
        let plain = try forward(load(tiny), inputs)
        let quantised = try forward(load(tiny, nil, .init(type: .int8)), inputs)
        let difference = Difference(quantised, plain)
        #expect(difference.relative > 0 && difference.relative < 0.1, "\(difference)")
    }
}

/// Leaves one block out.
private final class LeftOut: Acceleration {
    private let block: Int

    init(_ block: Int) { self.block = block }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.blocks = true
        return hooks
    }

    func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) { plan.indices.removeAll { $0 == block } }
}

/// Keeps what attentions and MLPs give, and gives it instead of computing it again.
private final class Keeper: Acceleration {
    private(set) var kept: [Int: Slots] = [:]

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        for site in context.sites(.attention, .mlp) { hooks.modules.insert(site) }
        return hooks
    }

    func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: () throws(DiffError) -> Slots
    ) throws(DiffError) -> Slots {
        if let slots = kept[site.number] { return slots }
        let slots = try compute()
        kept[site.number] = slots
        return slots
    }
}

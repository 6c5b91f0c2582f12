import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `audioldm2_unet2`, `_unet4`, `_unet_large`: one prediction of AudioLDM2's U-Net at several lengths, dense with what happens inside,
/// and with LiteFocus under the recorded keys.
enum GoldenAudioUNet {
    /// NOTES.md: largest difference.
    static let forward = GoldenTolerance.absolute(2e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UNet(
            UNetConfiguration(fixture.checkpoint().configuration), fixture.checkpoint().weights())
        if network.layout.family != "audioldm2_unet2d_condition" {
            report.fail("config.json", "family \(network.layout.family)")
        }
        let runs = try JSON(contentsOf: "\(fixture.path)/litefocus.json")
        guard case .array(let entries) = runs else { return report.fail("litefocus.json", "no list") }
        for key in fixture.keys("T") where key.hasSuffix(".sample") {
            try dense(String(key.dropLast("sample".count)), network, fixture, &report)
        }
        for entry in entries {
            let settings = try JSONObject(entry, source: "litefocus.json")
            try sparse(settings, network, fixture, &report)
        }
    }

    /// What a length of the fixture is given.
    struct Inputs {
        let x, t: Tensor
        var conditioning: Conditioning

        init(_ prefix: String, _ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
            let names = ["sample", "timestep", "encoder_hidden_states", "encoder_hidden_states_1"]
            for name in names { report.uses("\(prefix)\(name)") }
            report.uses("\(prefix)encoder_attention_mask_1")
            x = try fixture.tensor("\(prefix)sample")
            let time = try fixture.integers("\(prefix)timestep").first ?? 0
            t = try Tensor([Float](repeating: Float(time), count: x.shape[0]), Shape(x.shape[0]))
            conditioning = Conditioning(states: try fixture.tensor("\(prefix)encoder_hidden_states"))
            conditioning.secondStates = try fixture.tensor("\(prefix)encoder_hidden_states_1")
            let mask = "\(prefix)encoder_attention_mask_1"
            conditioning.secondMask = try Tensor(fixture.doubles(mask).map(Float.init), fixture.shape(mask))
        }
    }

    private static func dense(
        _ prefix: String, _ network: UNet, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let inputs = try Inputs(prefix, fixture, &report)
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: inputs.x.shape[0]))
        let prepared = try network.prepare(inputs.conditioning, run)
        try report.compare("\(prefix)out_dense", network(inputs.x, t: inputs.t, prepared, run), forward)
        for key in fixture.keys("\(prefix)dense.") {
            let name = String(key.dropFirst("\(prefix)dense.".count))
            if name == "temb" {
                let embedding = try network.timeEmbedding(inputs.t, run).embedding
                try report.compare(key, Array(embedding.array.prefix(fixture.shape(key).count)), forward)
                continue
            }
            guard let output = probe.output(name) else {
                report.fail(key, "no such site was reached")
                continue
            }
            try report.compare(key, output, forward)
        }
        // The same through the library's front door.
        let model = try Model(fixture.path)
        var named = NamedInputs()
        named.tensors = [
            "sample": inputs.x, "timestep": inputs.t, "encoder_hidden_states": inputs.conditioning.states,
        ]
        named.tensors["encoder_hidden_states_1"] = inputs.conditioning.secondStates
        named.tensors["encoder_attention_mask_1"] = inputs.conditioning.secondMask
        if let out = try model.forward(named)["out"] { try report.compare("\(prefix)out_dense", out, forward) }
    }

    private static func sparse(
        _ settings: JSONObject, _ network: UNet, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let (prefix, name) = (
            "T\(try settings.integer("T", in: 1...1 << 20)).", try settings.string("name")
        )
        let inputs = try Inputs(prefix, fixture, &report)
        let indices = "\(prefix)indices.\(name)"
        let method = try GoldenLiteFocus.method(
            settings, network.layout, keys: fixture.has(indices) ? fixture.integers(indices) : [], calls: 1,
            scope: name.hasPrefix("all") ? .all : .official)
        report.uses(indices)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([method]))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: inputs.x.shape[0]))
        let prepared = try network.prepare(inputs.conditioning, run)
        let out = try run.evaluate(Call(time: 0, index: 0, count: 1, step: 0)) { (_, run) throws(DiffError) in
            try network(inputs.x, t: inputs.t, prepared, run)
        }
        try report.compare("\(prefix)out_litefocus.\(name)", out, forward)
    }
}

extension GoldenLiteFocus {
    /// The method of recorded `settings` with the recorded keys of `calls` network calls, for modules in the order in which they are called.
    static func method(
        _ settings: JSONObject, _ layout: SiteLayout, keys: [Int], calls: Int, scope: LiteFocusPlan.Scope
    ) throws -> LiteFocus {
        let config = try settings.object("config")
        let modules = try settings.strings("modules")
        let plan = try LiteFocusPlan(
            sameFrequency: config.bool("same_frequency"), crossFrequency: config.bool("cross_frequency"),
            ratio: config.number("sparse_ratio", in: 0...1), levels: [settings.integer("level", in: 0...7)],
            scope: scope)
        var given: [KeyDraw.Place: [Int]] = [:]
        let each = keys.count / max(1, calls * modules.count)
        for (number, module) in modules.enumerated() {
            guard let site = layout.site(named: module) else {
                throw DiffError(.format, "no site \(module)")
            }
            for call in 0..<calls {
                let start = (call * modules.count + number) * each
                given[KeyDraw.Place(call: call, site: site)] = Array(keys[start..<start + each])
            }
        }
        // Keys for every attention that is sparse, and for no other: the plan's own choice is checked by that.
        return LiteFocus(plan, draw: plan.crossFrequency ? KeyDraw(given: given) : nil)
    }
}

import DiffCheckpoint
import DiffTensor
import DiffTraining
import TestSupport

/// `tinyfusion_gates`: candidates, straight-through Gumbel sampling and its gradient, decisions, schedules.
enum GoldenTinyFusionGates {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let groups = try TinyFusionFixture.groups(fixture)
        let table = try fixture.checkpoint().tensors
        let gates = try GateLogits(groups, logits: groups.indices.map { try table.floats("gumbel_gates.\($0)") })
        for key in fixture.keys("options.") { try options(key, groups, fixture, &report) }
        var first = 0
        for (index, group) in groups.enumerated() {
            // One group at a time: positions of blocks are within the group.
            let alone = try GateLogits([group], logits: [gates.logits[index]])
            try report.compare("decision.\(index)", integers: [GateLogits.position(of: alone.decision, in: group)])
            for setting in 0..<(try fixture.shape("settings")[0]) {
                try sampling(alone, "g\(index).s\(setting)", setting, fixture, &report)
            }
            first += group.blocks
        }
        report.uses("settings")
        for (key, name) in [("schedule.tau", "tau_range"), ("schedule.scaling", "scaling_range")] {
            let range = try fixture.config.numbers(name, in: -1e6...1e6)
            let steps = try fixture.config.integer("schedule_total_steps", in: 1...1_000_000)
            let values = (0..<steps).map { Schedule.linear(range[0], range[1]).value($0, of: steps) }
            try report.compare(key, values, .absolute(1e-5))
        }
    }

    private static func options(
        _ key: String, _ groups: [GateGroup], _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let name = key.dropFirst("options.".count)
        let parts = name.split(separator: "_").compactMap { Int($0) }
        let group: GateGroup
        if parts.count == 2 {
            group = try GateGroup(kept: parts[0], blocks: parts[1])
        } else {
            group = groups[Int(name) ?? 0]
        }
        let flat = group.candidates.flatMap { $0.map { $0 ? 1 : 0 } }
        if fixture.io.info(key)?.type == .f32 {
            try report.compare(key, flat.map(Float.init), .exact)
        } else {
            try report.compare(key, integers: flat)
        }
    }

    private static func sampling(
        _ gates: GateLogits, _ prefix: String, _ setting: Int, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let settings = try fixture.floats("settings")
        let (tau, scaling) = (Double(settings[2 * setting]), Double(settings[2 * setting + 1]))
        let candidates = gates.groups[0].candidates.count
        report.uses("\(prefix).noise", "\(prefix).dmask")
        let noise = TinyFusionFixture.rows(try fixture.floats("\(prefix).noise"), candidates)
        try report.compare("\(prefix).prob", gates.probabilities(scaling: scaling)[0], .absolute(1e-6))
        let sample = gates.sample(temperature: tau, scaling: scaling, noise: [noise])
        try report.compare("\(prefix).soft", sample.soft[0].flatMap { $0 }, .absolute(1e-6))
        try report.compare("\(prefix).index", integers: sample.choice[0])
        let hard = sample.choice[0].flatMap { choice in (0..<candidates).map { $0 == choice ? Float(1) : 0 } }
        try report.compare("\(prefix).hard", hard, .absolute(2e-7))
        let batch = sample.choice[0].count
        let mask = (0..<batch).flatMap { n in sample.masks.map { $0[n] } }
        try report.compare("\(prefix).mask", mask, .absolute(2e-7))
        let upstream = TinyFusionFixture.rows(try fixture.floats("\(prefix).dmask"), gates.groups[0].blocks)
        let byBlock = gates.groups[0].candidates[0].indices.map { block in upstream.map { $0[block] } }
        let gradient = gates.gradient(of: sample, masks: byBlock)[0]
        let largest = try fixture.doubles("\(prefix).dlogits").map(abs).max() ?? 0
        try report.compare("\(prefix).dlogits", gradient, .absolute(2e-4 * largest + 1e-5))
    }
}

extension GateLogits {
    /// Which candidate of `group` keeps the blocks `kept`.
    static func position(of kept: [Int], in group: GateGroup) -> Int {
        group.candidates.firstIndex { row in row.indices.filter { row[$0] } == kept } ?? -1
    }
}

/// What the fixtures of TinyFusion have in common.
enum TinyFusionFixture {
    static func groups(_ fixture: GoldenFixture) throws -> [GateGroup] {
        try fixture.config.array("groups").map { pair in
            guard case .array(let numbers) = pair, numbers.count == 2, let kept = numbers[0].asDouble,
                let blocks = numbers[1].asDouble
            else { throw DiffError(.format, "groups") }
            return try GateGroup(kept: Int(kept), blocks: Int(blocks))
        }
    }

    static func rows(_ flat: [Float], _ width: Int) -> [[Float]] {
        stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
    }
}

import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// `tinyfusion_train_lora`, `tinyfusion_train_full`: complete steps of learnable depth pruning.
enum GoldenTinyFusionTraining {
    private static let forward = GoldenTolerance.absolute(2e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        for recomputes in [false, true] { try run(fixture, recomputes: recomputes, &report) }
    }

    private static func run(
        _ fixture: GoldenFixture, recomputes: Bool, _ report: inout GoldenReport
    ) throws {
        let config = fixture.config
        let isLoRA = try config.bool("lora", default: false)
        let parameters = Parameters { isLoRA ? $0.contains(".lora_") : $0 != "pos_embed" }
        var options = Weights.Options(parameters: parameters)
        if isLoRA {
            options.lora = LoRAOptions(
                rank: try config.integer("lora_rank", in: 1...64), alpha: try config.number("lora_alpha", in: 0...100))
        }
        let weights = try fixture.checkpoint().weights(options)
        weights.markUsed(prefix: "gumbel_gates.")
        let network = try DiT(DiTConfiguration(config), weights)
        let groups = try TinyFusionFixture.groups(fixture)
        let table = weights.table
        var gates = try GateLogits(groups, logits: groups.indices.map { try table.floats("gumbel_gates.\($0)") })
        var averages = gates.logits
        var states = gates.logits.map { RowAdamW(count: $0.count) }
        let clip = try config.number("grad_clip", in: 0...1e6)
        let decay = try config.number("ema_decay", in: 0...1)
        let optimiser = try Optimiser(
            parameters, Optimiser.Settings(clip: clip, averageDecay: decay), budget: nil, averages: { _ in false })
        let batch = try fixture.shape("step0.x0")[0]
        let loss = try DiffusionLoss(.dit)
        let step = try PruningStep(network, parameters, loss, batch: batch, budget: nil, recomputes: recomputes)
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: step.stack([probe]))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: batch))

        var index = 0
        while fixture.has("step\(index).x0") {
            let key = "step\(index)"
            report.uses("\(key).x0", "\(key).y", "\(key).drop", "\(key).t", "\(key).noise", "\(key).tau_scaling")
            let (x0, t) = (try fixture.tensor("\(key).x0"), try fixture.integers("\(key).t"))
            let labels = zip(try fixture.integers("\(key).y"), try fixture.integers("\(key).drop")).map {
                $1 != 0 ? network.configuration.nullClass ?? $0 : $0
            }
            try report.compare("\(key).y_used", integers: labels)
            let settings = try fixture.floats("\(key).tau_scaling")
            let noise = try groups.indices.map { group in
                report.uses("\(key).gumbel.\(group)")
                return TinyFusionFixture.rows(
                    try fixture.floats("\(key).gumbel.\(group)"), groups[group].candidates.count)
            }
            let sample = gates.sample(temperature: Double(settings[0]), scaling: Double(settings[1]), noise: noise)
            try report.compare(
                "\(key).mask", (0..<batch).flatMap { n in sample.masks.map { $0[n] } }, .absolute(2e-7))
            let z = try fixture.tensor("\(key).noise")
            let outcome = try step(x0: x0, labels: labels, t: t, noise: z, masks: sample.masks, run)
            try losses(outcome.terms, key, fixture, &report)
            let gateGradients = gates.gradient(of: sample, masks: outcome.masks)
            if index == 0 {
                try report.compare("\(key).x_t", loss.noised(x0, z, t, run), forward)
                try report.compare("\(key).model_output", outcome.output, forward)
                for block in 0..<network.configuration.depth {
                    let name = "blocks.\(block)"
                    guard let output = probe.output(name), let input = probe.input(name) else { continue }
                    try report.compare("\(key).block_out.\(block)", output, forward)
                    try report.compare("\(key).block_in.\(block)", input, forward)
                }
                try gradients(optimiser, step.gradients, gateGradients, key, fixture, &report)
            }
            let squares = gateGradients.flatMap { $0 }.reduce(0.0) { $0 + Double($1) * Double($1) }
            let (norm, scale) = try optimiser.step(
                step.gradients, learningRate: config.number("lr_weights", in: 0...1), others: squares, run)
            try report.compare("\(key).grad_norm", [norm], .relative(1e-3))
            for group in groups.indices {
                states[group].step(
                    &gates.logits[group], gradient: gateGradients[group],
                    learningRate: try config.number("lr_gates", in: 0...1), scale: scale)
                averages[group] = zip(averages[group], gates.logits[group]).map {
                    Float(decay) * $0 + Float(1 - decay) * $1
                }
                try report.compare("\(key).gate_after.\(group)", gates.logits[group], .absolute(2e-6))
                try report.compare("\(key).ema_gate_after.\(group)", averages[group], .absolute(2e-6))
            }
            index += 1
        }
        try finals(optimiser, fixture, &report)
        try report.compare("decision", integers: GateLogits(groups, logits: averages).decision)
    }

    private static func losses(
        _ terms: DiffusionLoss.Terms, _ key: String, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        try report.compare("\(key).mse", terms.mse, .relative(1e-5))
        try report.compare("\(key).vb", terms.vb, .relative(1e-5))
        try report.compare("\(key).loss_per_sample", zip(terms.mse, terms.vb).map { $0 + $1 }, .relative(1e-5))
        try report.compare("\(key).loss", [terms.mean], .relative(1e-5))
    }

    private static func gradients(
        _ optimiser: Optimiser, _ gradients: ParameterGradients, _ gates: [[Float]], _ key: String,
        _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        func bound(_ key: String) throws -> GoldenTolerance {
            .absolute(1e-3 * (try fixture.doubles(key).map(abs).max() ?? 0) + 1e-7)
        }
        for (group, gradient) in gates.enumerated() {
            let name = "\(key).grad.gumbel_gates.\(group)"
            try report.compare(name, gradient, bound(name))
        }
        for (node, slot) in optimiser.slots.enumerated() {
            let name = "\(key).grad.\(slot.names[0])"
            guard fixture.has(name) else { continue }
            let zero = Array(repeating: Float(0), count: slot.parameter.shape.count)
            try report.compare(name, gradients[node]?.array ?? zero, bound(name))
        }
    }

    /// AdamW turns tiny gradients into steps of full size, so a thousandth of the elements may be elsewhere.
    private static func finals(
        _ optimiser: Optimiser, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        for slot in optimiser.slots {
            let key = "final.\(slot.names[0])"
            guard fixture.has(key) else { continue }
            let expected = try fixture.floats(key)
            let apart = zip(slot.parameter.array, expected).count { abs($0 - $1) > 1e-6 }
            let allowed = max(1, expected.count / 1000)
            report.confirm(key, apart <= allowed ? nil : "\(apart) of \(expected.count) elements differ")
        }
    }
}

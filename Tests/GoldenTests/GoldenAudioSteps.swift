import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

@testable import DiffAccel

/// Guided runs of the audio U-Nets with DDIM, dense and with LiteFocus under the recorded keys.
enum GoldenAudioSteps {
    /// A network with the rows that it is told, the unconditional half first.
    struct Guided {
        let network: UNet
        let conditioning: Conditioning
        let scale: Float
        /// The scheduler's file.
        let scheduler: JSONObject
        let steps: Int

        /// States after each step, and guided predictions, from `noise` on.
        func run(
            _ noise: Tensor, eta: Double = 0, stepNoise: Tensor? = nil, _ methods: [any Acceleration] = []
        ) throws -> (states: [Float], predictions: [Float]) {
            let file = try SchedulerFile(scheduler)
            guard let entry = try file.sampler() else { throw DiffError(.format, "no scheduler class") }
            var sampler = try entry.sampler(
                file.configuration(over: SchedulerConfiguration()), .count(steps), eta: eta)
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack(methods))
            try run.begin(SamplingContext(layouts: [network.layout], calls: steps, rows: conditioning.states.shape[0]))
            let prepared = try network.prepare(conditioning, run)
            var (x, states, predictions) = (noise, [Float](), [Float]())
            var index = 0
            while let wanted = sampler.call {
                let call = Call(time: Float(wanted.timestep), index: index, count: steps, step: index)
                let isGuided = conditioning.states.shape[0] == 2 * noise.shape[0]
                let input = isGuided ? try run.doubled(x) : x
                let out = try run.evaluate(call) { [network] (call, run) throws(DiffError) in
                    try network(input, t: run.filled(input.shape[0], with: call.time), prepared, run)
                }
                var values = out.array
                if isGuided {
                    let half = values.count / 2
                    values = (0..<half).map { values[$0] + scale * (values[half + $0] - values[$0]) }
                }
                predictions += values
                let prediction = try Tensor(values, x.shape)
                let step = index
                x = try sampler.step(x, prediction, run) { () throws(DiffError) in
                    guard let stepNoise else { throw DiffError(.internal, "no noise") }
                    return try stepNoise.rows(step, 1).reshaped(x.shape)
                }.state
                states += x.array
                index += 1
            }
            return (states, predictions)
        }
    }

    /// `audioldm2_ddim`: five steps of the tiny U-Net of `audioldm2_unet2`.
    static func ddim(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UNet(UNetConfiguration(fixture.config.object("unet")), fixture.checkpoint().weights())
        report.uses("noise", "encoder_hidden_states", "encoder_hidden_states_1", "encoder_attention_mask_1")
        report.uses("variance_noise", "indices", "alpha_prod_t", "alpha_prod_prev")
        var conditioning = Conditioning(states: try fixture.tensor("encoder_hidden_states"))
        conditioning.secondStates = try fixture.tensor("encoder_hidden_states_1")
        conditioning.secondMask = try fixture.times("encoder_attention_mask_1")
        let steps = try fixture.config.integer("num_inference_steps", in: 1...1000)
        let guided = Guided(
            network: network, conditioning: conditioning,
            scale: Float(try fixture.config.number("guidance_scale", in: 0...100)),
            scheduler: try fixture.config.object("scheduler"), steps: steps)
        let noise = try fixture.tensor("noise")
        let dense = try guided.run(noise)
        try compare("dense", dense, fixture, &report)
        let stochastic = try guided.run(noise, eta: 1, stepNoise: fixture.tensor("variance_noise"))
        try report.compare("latents_dense_eta1", stochastic.states, .absolute(3e-3))
        let method = try GoldenLiteFocus.method(
            fixture.config.object("litefocus"), network.layout, keys: fixture.integers("indices"), calls: steps,
            scope: .official)
        try compare("litefocus", guided.run(noise, [method]), fixture, &report)
        let times = (0..<steps).map { (steps - 1 - $0) * (1000 / steps) + 1 }
        try report.compare("timesteps", integers: times)
    }

    /// NOTES.md: the first two steps to 5e-4, the last to 2e-3.
    private static func compare(
        _ name: String, _ found: (states: [Float], predictions: [Float]), _ fixture: GoldenFixture,
        _ report: inout GoldenReport
    ) throws {
        try report.compare("latents_\(name)", found.states, .absolute(2e-3))
        try report.compare("eps_\(name)", found.predictions, .absolute(2e-3))
        let recorded = try fixture.floats("latents_\(name)")
        let first = 2 * recorded.count / max(1, try fixture.shape("latents_\(name)")[0])
        let difference = Difference(Array(found.states.prefix(first)), recorded.prefix(first).map(Double.init))
        report.verify(
            "latents_\(name), first steps",
            difference.absolute <= 5e-4 ? nil : "\(difference), allowed 5e-4")
    }
}

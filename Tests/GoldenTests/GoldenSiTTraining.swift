import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// The training keys of `sit`: the loss of a flow and its gradients.
enum GoldenSiTTraining {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        guard fixture.has("train.x1") else { return }
        for recomputes in [false, true] { try pass(fixture, recomputes: recomputes, &report) }
    }

    private static func pass(_ fixture: GoldenFixture, recomputes: Bool, _ report: inout GoldenReport) throws {
        report.uses("train.x0", "train.x1", "train.t", "train.y", "train.drop")
        let (data, noise) = (try fixture.tensor("train.x1"), try fixture.tensor("train.x0"))
        let t = try fixture.floats("train.t")
        let parameters = Parameters { $0 != "pos_embed" }
        let weights = try fixture.checkpoint().weights(Weights.Options(parameters: parameters))
        let network = try SiT(DiTConfiguration(fixture.config), weights)
        let labels = zip(try fixture.integers("train.y"), try fixture.integers("train.drop")).map {
            $1 != 0 ? network.nullClass ?? $0 : $0
        }
        let loss = VelocityLoss()
        let gradients = try ParameterGradients(parameters, budget: nil)
        let tape = Tape(gradients, recomputes: recomputes)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: t.count))
        let x = try loss.state(data, noise, t: t, run)
        let (prediction, losses) = try run.recording(tape) { () throws(DiffError) in
            let output = try network(x, t: run.tensor(t, Shape(t.count)), y: labels, run)
            let result = try loss.evaluate(output, data: data, noise: noise, t: t, run)
            try tape.pass(result.gradient, to: output, run)
            try tape.backward(run)
            return (output.detached, result.errors)
        }
        try report.compare("train.pred", prediction, GoldenSiT.forward)
        try report.compare("train.loss_per_sample", losses, .relative(1e-5))
        try report.compare("train.loss", [losses.reduce(0, +) / Double(losses.count)], .relative(1e-5))
        try report.compare(gradients: gradients, of: parameters)
    }
}

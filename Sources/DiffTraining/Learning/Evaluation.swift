import DiffModels
import DiffSampling
import DiffTensor

/// The ordinary training loss of a network on draws that no step of learning makes: the same ones whenever it is asked.
struct Evaluation {
    let network: any Denoiser
    let loss: DiffusionLoss
    let batches: BatchSource
    let seed: UInt64
    let resources: LearningResources

    /// Where the batches of evaluations begin: beyond any step.
    static let firstStep = 1 << 40

    /// The mean over `count` batches with true labels, under `stack`.
    func mean(_ count: Int, _ stack: AccelerationStack = AccelerationStack()) throws(DiffError) -> Double {
        var sum = 0.0
        for index in Indices(below: count) {
            let run = try resources.run(stack, network.layout, rows: batches.size)
            let step = Self.firstStep &+ index
            let (x0, labels) = try batches.batch(step, run)
            var draws = StepDraws(seed: seed, step: step, purpose: 9)
            let t = draws.indices(batches.size, below: loss.schedule.count)
            let noise = try draws.normal(x0.shape, run)
            let x = try loss.noised(x0, noise, t, run)
            let output = try network(x, t: run.tensor(t.map(Float.init), Shape(t.count)), y: labels, run)
            sum += try loss.evaluate(
                output, x0: x0, xt: x, noise: noise, t: t, addingTo: run.zeros(output.shape)
            ).mean
        }
        return sum / Double(max(1, count))
    }
}

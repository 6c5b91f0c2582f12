import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport
import Testing

/// The own trajectory of a U-ViT, whose solver makes two network calls a step, against sampling with the method of inference.
@Suite struct OwnTrajectoryTests {
    private static let steps = 4

    /// A network for learning and the settings of a walk that changes nothing.
    private struct Scene {
        let directory: ScratchDirectory
        let tiny = TinyUViT()
        let network: UViT
        let process: RouterProcess
        var settings = RouterSettings.uvit

        init() throws {
            directory = try ScratchDirectory()
            let checkpoint = try Checkpoint.open(path: tiny.write(directory))
            network = try UViT(
                UViTConfiguration(checkpoint.configuration.object("model")),
                checkpoint.weights(Weights.Options(parameters: Parameters())))
            process = try RouterProcess.singlestep(.stableDiffusion, evaluations: 2 * OwnTrajectoryTests.steps)
            (settings.trajectory, settings.samplingSteps, settings.batch) = (.own, OwnTrajectoryTests.steps, 3)
            (settings.guidance, settings.guidanceChannels, settings.seed) = (1.7, tiny.inChannels, 4)
            (settings.learningRate, settings.l1, settings.threshold) = (0, 0, 0.5)
        }

        func learning() throws -> RouterLearning {
            let resources = LearningResources(pool: try WorkerPool(threads: 2), budget: nil)
            return try RouterLearning(network, process, data: nil, settings, resources)
        }

        var shape: Shape { get throws { try Shape(settings.batch, tiny.inChannels, tiny.inputSize, tiny.inputSize) } }

        /// Every network call's input in plain sampling under `router`, through the method that sessions use.
        func inputs(_ router: Router, labels: [Int], noise: Tensor) throws -> [[Float]] {
            let sampler = try DPMSolverSinglestepSampler(.stableDiffusion, evaluations: 2 * OwnTrajectoryTests.steps)
            let method = LayerCachePlan(.learned(router)).makeAcceleration()
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([method]))
            let rows = 2 * labels.count
            try run.begin(
                SamplingContext(layouts: [network.layout], calls: sampler.calls, steps: sampler.steps, rows: rows))
            let (network, all) = (network, labels + labels.map { _ in tiny.classes })
            let (scale, channels) = (Float(settings.guidance), settings.guidanceChannels)
            var states = [noise.array]
            _ = try sampler.sample(
                from: noise, noise: NoiseSource(seed: 0, steps: nil), networkBatch: rows, run,
                observe: { (progress) throws(DiffError) in states.append(progress.state.array) },
                denoise: { (x, call, run) throws(DiffError) in
                    let raw = try network(run.doubled(x), t: run.filled(rows, with: call.time), y: all, run)
                    return try run.guided(raw, scale: scale, channels: channels)
                })
            return states
        }

        /// The noise that a walk begun at iteration `iteration` starts from.
        func noise(_ iteration: Int) throws -> Tensor {
            var draws = StepDraws(seed: settings.seed, step: iteration, purpose: 3)
            return try draws.normal(shape, Run(pool: nil, budget: nil))
        }
    }

    /// Logits that leave `keeps` to the threshold: all are of the same sign, or as they were drawn.
    private func set(_ learning: RouterLearning, _ logit: Float?) throws {
        guard let logit else { return }
        var state = try learning.save()
        let count = try #require(state.tensors["logits"]).shape.count
        state.tensors["logits"] = try Tensor([Float](repeating: logit, count: count), Shape(count))
        try learning.restore(state)
    }

    /// Drawn at random, all computed, all reused.
    @Test(arguments: [nil, 40, -40] as [Float?])
    func theStatesAreThoseOfSampling(logit: Float?) throws {
        let scene = try Scene()
        let learning = try scene.learning()
        try set(learning, logit)
        var errors: [Double] = []
        for iteration in 0..<2 * (Self.steps - 1) {
            let report = try learning.step()
            errors.append(report.terms.first { $0.name == "error" }?.value ?? .nan)
            let state = try learning.save()
            let labels = try #require(state.integers["trajectory.labels"])
            // A walk has a training step in every sampling step but the first; then the next one begins.
            let (walk, step) = iteration.quotientAndRemainder(dividingBy: Self.steps - 1)
            let sampled = try scene.inputs(
                learning.router(), labels: labels, noise: scene.noise(walk * (Self.steps - 1)))
            #expect(sameBits(try #require(state.tensors["trajectory"]).array, sampled[2 * step + 2]))
            #expect(state.integers["trajectory.position"] == [(step + 1) % (Self.steps - 1)])
        }
        // A student whose scores are 1 is the network itself.
        #expect(logit == 40 ? errors.allSatisfy { $0 == 0 } : errors.allSatisfy { $0 > 0 })
    }

    @Test func theErrorIsThatOfTheNetworkThatBlendsAtTheSameState() throws {
        let scene = try Scene()
        let learning = try scene.learning()
        _ = try learning.step()
        let report = try learning.step()
        let router = try learning.router()
        let state = try learning.save()
        let labels = try #require(state.integers["trajectory.labels"])
        let states = try scene.inputs(router, labels: labels, noise: scene.noise(0))
        // What is kept at the second iteration is the midpoint's, call 3; it is taken at call 4, with the solver's own fraction of a timestep.
        let rows = 2 * labels.count
        let all = labels + labels.map { _ in scene.tiny.classes }
        let timesteps = scene.process.timesteps
        #expect(timesteps[4] != scene.process.trainingTimesteps[4])
        func call(_ number: Int, _ stack: AccelerationStack) throws -> Tensor {
            let run = Run(pool: nil, budget: nil, stack: stack)
            try run.begin(SamplingContext(layouts: [scene.network.layout], calls: 1, rows: rows))
            let x = try run.doubled(Tensor(states[number], scene.shape))
            return try scene.network(x, t: run.filled(rows, with: Float(timesteps[number])), y: all, run)
        }
        let mix = Mix(scene.network.sublayers, learning.logits.scores(row: 2))
        _ = try call(3, AccelerationStack([mix]))
        let plain = try call(4, AccelerationStack([]))
        mix.blends = true
        let student = try call(4, AccelerationStack([mix]))
        let square = zip(plain.array, student.array).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        let error = try #require(report.terms.first { $0.name == "error" }).value
        #expect(abs(error - square / Double(rows)) < 1e-4 * error)
    }

    @Test func aWalkLowersItsOwnLoss() throws {
        var scene = try Scene()
        (scene.settings.learningRate, scene.settings.steps, scene.settings.threshold) = (0.5, 90, 0)
        let learning = try scene.learning()
        var errors: [Double] = []
        for _ in 0..<90 { errors.append(try learning.step().terms.first { $0.name == "error" }?.value ?? .nan) }
        // Without a penalty all scores rise, so the student comes near the network.
        let (first, last) = (errors.prefix(6).reduce(0, +), errors.suffix(6).reduce(0, +))
        #expect(last < 0.2 * first)
    }

    @Test func aStateWithoutTheStepItStandsInIsRefused() throws {
        let scene = try Scene()
        let learning = try scene.learning()
        _ = try learning.step()
        var state = try learning.save()
        #expect(state.tensors["trajectory.output"]?.shape == (try scene.shape))
        state.tensors["trajectory.output"] = nil
        #expect(throws: DiffError.self) { try learning.restore(state) }
    }
}

/// The formula of the paper's student, written anew: w · fresh + (1 - w) · kept.
private final class Mix: Acceleration {
    var blends = false
    private let sublayers: [Site]
    private let column: [Int: Int]
    private let weights: [Float]
    private var kept: [Int: [Float]] = [:]

    init(_ sublayers: [Site], _ weights: [Float]) {
        (self.sublayers, self.weights) = (sublayers, weights)
        column = Dictionary(uniqueKeysWithValues: sublayers.enumerated().map { ($1.number, $0) })
    }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.modules = SiteSet(sublayers)
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        let fresh = try compute()
        guard let column = column[site.number] else { return fresh }
        guard blends, let old = kept[column] else {
            kept[column] = fresh.first.array
            return fresh
        }
        let w = weights[column]
        let mixed = zip(fresh.first.array, old).map { w * $0 + (1 - w) * $1 }
        return Slots(try Tensor(mixed, fresh.first.shape))
    }
}

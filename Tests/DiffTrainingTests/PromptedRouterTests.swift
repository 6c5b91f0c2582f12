import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport
import Testing

/// Routers of a network that is told prompts: a U-Net of Stable Diffusion, its prompts as classes.
@Suite struct PromptedRouterTests {
    private static let steps = 6

    private struct Scene {
        let tiny: TinyUNet
        let network: UNet
        let denoiser: PromptedDenoiser
        let prompts: PreparedConditioning
        let process: RouterProcess

        init(_ change: (inout TinyUNet) -> Void = { _ in }) throws {
            var tiny = TinyUNet()
            change(&tiny)
            let directory = try ScratchDirectory()
            let checkpoint = try Checkpoint.open(path: tiny.write(directory))
            network = try UNet(
                UNetConfiguration(checkpoint.configuration), checkpoint.weights(.init(parameters: Parameters())))
            var numbers = Numbers(9)
            var conditioning = Conditioning(states: try numbers.tensor([4, 5, tiny.textWidth]))
            if tiny.sizeFeatures > 0 {
                conditioning.pooled = try numbers.tensor([4, tiny.pooledWidth])
                conditioning.sizes = try numbers.tensor([4, 6], scale: 20, around: 64)
            }
            prompts = try network.prepare(conditioning, Run(pool: nil, budget: nil))
            denoiser = try PromptedDenoiser(network, prompts, endsInNone: true)
            process = try RouterProcess.ddim(.stableDiffusion, steps: PromptedRouterTests.steps)
            self.tiny = tiny
        }

        func step(recomputes: Bool = false) throws -> (RouterStep, Run) {
            let step = try RouterStep(denoiser, process, budget: nil, recomputes: recomputes)
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: step.stack)
            try run.begin(SamplingContext(layouts: [denoiser.layout], calls: 1, rows: 2))
            return (step, run)
        }

        func learning(_ settings: RouterSettings) throws -> RouterLearning {
            var numbers = Numbers(3)
            let directory = try ScratchDirectory()
            try directory.write(
                ["latents": numbers.tensor([9, tiny.inChannels, tiny.side, tiny.side])], as: "x.safetensors")
            try directory.write(integers: (0..<9).map { $0 % 3 }, [9], as: "y.npy")
            let data = try LatentSet(
                states: ArrayFile(path: "\(directory.path)/x.safetensors", tensor: "latents"),
                labels: ArrayFile(path: "\(directory.path)/y.npy", tensor: "labels"), classes: 3)
            return try RouterLearning(
                denoiser, process, data: data, settings,
                LearningResources(pool: try WorkerPool(threads: 2), budget: nil))
        }
    }

    @Test func aPromptIsAClass() throws {
        let scene = try Scene { ($0.sizeFeatures, $0.blocks) = (4, 2) }
        #expect(scene.denoiser.classRows == 4 && scene.denoiser.nullClass == 3 && scene.denoiser.classes == 3)
        #expect(scene.denoiser.sublayers.count == scene.tiny.sublayers)
        var numbers = Numbers(6)
        let (x, t) = (try numbers.tensor([3, 4, 8, 8]), try Tensor([1, 40, 900], Shape(3)))
        let run = Run(pool: nil, budget: nil)
        let told = try scene.denoiser(x, t: t, y: [2, 0, 2], run)
        for (row, prompt) in [2, 0, 2].enumerated() {
            let one = try scene.network(x.rows(row, 1), t: t.rows(row, 1), scene.prompts.rows(prompt, 1), run)
            #expect(try sameBits(told.rows(row, 1).array, one.array))
        }
        for prompt in [-1, 4, .max] {
            #expect { try scene.denoiser(x, t: t, y: [0, prompt, 1], run) } throws: {
                ($0 as? DiffError)?.code == .invalidArgument
            }
        }
        var inpainting = TinyUNet()
        inpainting.inChannels = 9
        let other = try Scene().prompts
        let directory = try ScratchDirectory()
        let checkpoint = try Checkpoint.open(path: inpainting.write(directory))
        let network = try UNet(UNetConfiguration(checkpoint.configuration), checkpoint.weights())
        #expect { try PromptedDenoiser(network, other, endsInNone: false) } throws: {
            ($0 as? DiffError)?.code == .unsupported
        }
    }

    /// The gradient of the student's error with respect to every score, through all of the network, against differences.
    @Test(arguments: [false, true])
    func gradientsGoThroughTheWholeNetwork(isXL: Bool) throws {
        let scene = try Scene { tiny in
            guard isXL else { return }
            (tiny.sizeFeatures, tiny.channels, tiny.layers, tiny.side) = (4, [8, 8, 12], 1, 9)
        }
        var numbers = Numbers(11)
        let labels = [0, 3]
        let (x0, noise) = (
            try numbers.tensor([2, 4, scene.tiny.side, scene.tiny.side]),
            try numbers.tensor([2, 4, scene.tiny.side, scene.tiny.side])
        )
        let scores = numbers.floats(scene.tiny.sublayers, scale: 0.4).map { $0 + 0.5 }
        var found: [[Float]] = []
        for recomputes in [false, true] {
            let (step, run) = try scene.step(recomputes: recomputes)
            let noised = try scene.process.noised(x0, noise, call: 0, run)
            var sampler = scene.process.sampler(at: 0)
            let x = try sampler.advance(noised, step.full(noised, labels: labels, call: 0, run), run)
            let outcome = try step.compare(x, labels: labels, call: 1, scores: scores, run)
            found.append(outcome.gradient)
            guard !recomputes else { continue }
            func error(_ scores: [Float]) throws -> Double {
                let student = try step.student(x, labels: labels, call: 1, scores: scores, run)
                let squares = zip(student.array, outcome.teacher.array).map { Double($0 - $1) * Double($0 - $1) }
                return squares.reduce(0, +) / Double(squares.count)
            }
            let largest = outcome.gradient.map { abs($0) }.max() ?? 0
            #expect(largest > 0)
            for column in scores.indices {
                var (up, down) = (scores, scores)
                up[column] += 0.02
                down[column] -= 0.02
                let expected = (try error(up) - error(down)) / Double(up[column] - down[column])
                let isNear = abs(Double(outcome.gradient[column]) - expected) <= 0.02 * Double(largest)
                #expect(isNear, "column \(column): \(outcome.gradient[column]), expected \(expected)")
            }
        }
        #expect(Difference(found[1], found[0]).relative < 1e-5)
    }

    @Test func aRouterIsLearnedResumedAndUsed() throws {
        let scene = try Scene()
        var settings = RouterSettings()
        (settings.steps, settings.samplingSteps, settings.batch, settings.seed) = (40, Self.steps, 2, 5)
        (settings.learningRate, settings.l1) = (0.3, 1e3)
        let whole = try scene.learning(settings)
        let losses = try (0..<40).map { _ in try whole.step().loss }
        let areFinite = losses.allSatisfy { $0.isFinite }
        #expect(areFinite)
        let (first, second) = (try scene.learning(settings), try scene.learning(settings))
        for _ in 0..<7 { _ = try first.step() }
        try second.restore(first.save())
        let rest = try (7..<40).map { _ in try second.step().loss }
        #expect(rest == Array(losses[7...]))
        #expect(whole.removed > 0.5, "such a penalty leaves little")
        // The plan at work: every second call reuses attentions and feed-forwards.
        let router = try whole.router()
        let method = LayerCachePlan(.learned(router)).makeAcceleration()
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([method]))
        try run.begin(SamplingContext(layouts: [scene.network.layout], calls: Self.steps, rows: 2))
        var numbers = Numbers(2)
        let x = try numbers.tensor([2, 4, 8, 8])
        for call in 0..<Self.steps {
            _ = try run.evaluate(Call(time: 100, index: call, count: Self.steps, step: call)) {
                (call, run) throws(DiffError) in
                try scene.network(x, t: run.filled(2, with: call.time), scene.prompts.rows(0, 2), run)
            }
        }
        let sublayers = scene.denoiser.sublayers
        let reused = (0..<Self.steps).map { call in
            sublayers.filter { run.trace.outcome($0, call: call) == .reused }.count
        }
        // The first call is full, and every second one from the clean end on.
        let expected = (0..<Self.steps).map { call in
            call % 2 == 0 ? 0 : router.computes(row: Self.steps - 1 - call).filter { !$0 }.count
        }
        #expect(reused == expected && reused.reduce(0, +) > 0)
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining
import TestSupport
import Testing

/// One step of specialised fine-tuning: what is fed, what it costs, and which way it points.
@Suite struct SpecialisationTests {
    /// A tiny VAR for learning, a teacher, the codebook, and codes of some pictures.
    private struct Scene {
        let directory: ScratchDirectory
        let tiny: TinyVAR
        let parameters = Parameters { !$0.hasSuffix("zero_k_bias") }
        let student, teacher: VAR
        let encoder: ScaleEncoder
        let tokens: [[Int]]
        let labels = [1, 5, 3]
        let run: Run
        var codes: ScaleQuantizer { encoder.codes }

        init(shared: Bool = false, seed: UInt64 = 1) throws {
            directory = try ScratchDirectory()
            var tiny = TinyVAR()
            tiny.sharesModulation = shared
            self.tiny = tiny
            let checkpoint = try Checkpoint.open(path: tiny.write(directory))
            let c = try VARConfiguration(checkpoint.configuration, checkpoint.weights())
            student = try VAR(c, checkpoint.weights(Weights.Options(parameters: parameters)))
            var other = TinyVAR()
            (other.depth, other.width, other.seed) = (3, 48, 9)
            let second = try Checkpoint.open(path: other.write(directory, as: "teacher"))
            teacher = try VAR(VARConfiguration(second.configuration, second.weights()), second.weights())
            let vae = try checkpoint.subdirectory("vae")
            encoder = try ScaleEncoder(
                VQVAEConfiguration(vae.configuration, vae.weights()), vae.weights(), schedule: c.schedule,
                encodesPictures: true)
            var numbers = Numbers(seed)
            tokens = c.schedule.sides.map { side in
                (0..<3 * side * side).map { _ in Int(numbers.bits() % UInt64(tiny.vocabulary)) }
            }
            run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        }

        func step(_ settings: SpecialisationSettings, teacher: VAR? = nil) throws -> SpecialisationStep {
            try SpecialisationStep(student, parameters, teacher: teacher ?? self.teacher, codes, settings, budget: nil)
        }

        func terms(_ step: SpecialisationStep) throws -> TokenLoss.Terms {
            try step(tokens, labels: labels, run, teacher: run.withoutAcceleration())
        }

        /// Logits of all scales, one row for each token of each sample.
        func logits() throws -> Tensor {
            try student(codes.teacherCodes(codes.states(tokens, run), run), labels: labels, run)
        }
    }

    @Test(arguments: 1...4)
    func aDrafterIsTheFirstScalesOfTheWholeNetwork(_ scales: Int) throws {
        let scene = try Scene()
        let step = try scene.step(SpecialisationSettings(.drafter, draftScales: scales))
        let (terms, logits) = (try scene.terms(step), try scene.logits())
        let count = scene.student.configuration.schedule.offset(scales)
        let first = try scene.run.tokens(logits, 0, count)
        let targets = scene.labels.indices.flatMap { sample in
            (0..<scales).flatMap { scale in
                let length = scene.student.configuration.schedule.length(scale)
                return scene.tokens[scale][sample * length..<(sample + 1) * length]
            }
        }
        let expected = try TokenLoss().evaluate(
            student: first, teacher: nil, codes: targets, writingTo: scene.run.workspace.take(first.shape), scene.run)
        #expect(abs(terms.loss - expected.loss) < 1e-6 && terms.divergence == nil && terms.entropy == terms.loss)
        #expect(
            try abs(step.evaluate(scene.tokens, labels: scene.labels, scene.run, teacher: scene.run).loss - terms.loss)
                < 1e-5)
    }

    @Test func aDrafterDoesNotSeeLaterScales() throws {
        let scene = try Scene()
        let step = try scene.step(SpecialisationSettings(.drafter, draftScales: 2))
        let loss = try scene.terms(step).loss
        var tokens = scene.tokens
        for scale in 2..<tokens.count { tokens[scale] = tokens[scale].map { ($0 + 5) % 24 } }
        #expect(
            try step(tokens, labels: scene.labels, scene.run, teacher: scene.run.withoutAcceleration()).loss == loss)
        // Positions and levels of the others have no gradient.
        for (node, parameter) in scene.parameters.trained.enumerated() {
            guard let gradient = step.gradients[node]?.array, let name = parameter.names.first else { continue }
            if name == "pos_1LC" { #expect(gradient.dropFirst(5 * 32).allSatisfy { $0 == 0 }) }
            if name == "lvl_embed.weight" { #expect(gradient.dropFirst(2 * 32).allSatisfy { $0 == 0 }) }
        }
    }

    @Test func whoIsTheirOwnTeacherHasNothingToLearn() throws {
        let scene = try Scene()
        let step = try scene.step(SpecialisationSettings(.refiner, draftScales: 2), teacher: scene.student)
        let terms = try scene.terms(step)
        #expect(abs(terms.divergence ?? 1) < 1e-9 && terms.loss == terms.divergence && terms.entropy > 1)
        for node in scene.parameters.trained.indices {
            #expect((step.gradients[node]?.array ?? []).allSatisfy { abs($0) < 1e-6 })
        }
    }

    /// Gradients of all parameters against a step of the loss along them.
    @Test(arguments: withEvery([false, true], [false, true], SpecialisationSettings.Role.allCases))
    func gradientsAreThoseOfTheLoss(_ shared: Bool, _ recomputes: Bool, _ role: SpecialisationSettings.Role) throws {
        let scene = try Scene(shared: shared)
        var settings = SpecialisationSettings(role, draftScales: 2)
        (settings.divergenceShare, settings.temperature, settings.labelSmoothing) = (0.7, 1.5, 0.1)
        settings.training.recomputes = recomputes
        let step = try scene.step(settings)
        _ = try scene.terms(step)
        let trained = scene.parameters.trained
        let gradients = trained.indices.map { step.gradients[$0]?.array ?? [] }
        #expect(trained.count == scene.tiny.shapes.count - scene.tiny.depth && gradients.allSatisfy { !$0.isEmpty })
        func loss() throws -> Double {
            try step.evaluate(scene.tokens, labels: scene.labels, scene.run, teacher: scene.run.withoutAcceleration())
                .loss
        }
        for (parameter, g) in zip(trained, gradients) {
            let length = g.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            guard length > 1e-5, let values = parameter.tensor.floats else { continue }
            let (before, size) = (parameter.tensor.array, 5e-3 / length)
            func moved(_ sign: Double) throws -> Double {
                for i in before.indices { values[i] = before[i] + Float(sign * size * Double(g[i])) }
                defer { for i in before.indices { values[i] = before[i] } }
                return try loss()
            }
            let slope = (try moved(1) - moved(-1)) / (2 * size)
            #expect(
                abs(slope - length * length) <= 0.03 * length * length + 1e-3 * length,
                "\(parameter.names): slope \(slope), expected \(length * length)")
        }
    }

    @Test func picturesBecomeTheCodesOfTheVQVAE() throws {
        let scene = try Scene()
        var numbers = Numbers(4)
        let pictures = try numbers.tensor([5, 3, 4, 4])
        try scene.directory.write(["images": pictures], as: "x.safetensors")
        let labels = try scene.directory.write(integers: [0, 1, 2, 3, 4], [5], as: "y.npy")
        let set = try TokenSet(
            pictures: ArrayFile(path: "\(scene.directory.path)/x.safetensors", tensor: "images"),
            labels: ArrayFile(path: labels, tensor: ""), encoder: scene.encoder, classes: 6)
        let vae = try Checkpoint.open(path: "\(scene.directory.path)/var").subdirectory("vae")
        let whole = try VQVAE(VQVAEConfiguration(vae.configuration, vae.weights()), vae.weights())
        let expected = try whole.codes.encode(whole.encode(pictures, scene.run), scene.run).tokens
        let found = try set.read([0, 1, 2, 3, 4], Run(pool: nil, budget: nil))
        #expect(found == expected)
        let some = try set.read([3, 0], Run(pool: nil, budget: nil))
        #expect(some[1] == Array(expected[1][12..<16] + expected[1][0..<4]))
    }

    @Test func partsThatDoNotFitAreRefused() throws {
        let scene = try Scene()
        for (role, scales) in [(SpecialisationSettings.Role.refiner, 4), (.refiner, 64), (.drafter, 5)] {
            #expect(throws: DiffError.self) {
                _ = try scene.step(SpecialisationSettings(role, draftScales: scales))
            }
        }
        #expect(throws: DiffError.self, "no teacher") {
            _ = try SpecialisationStep(
                scene.student, scene.parameters, teacher: nil, scene.codes,
                SpecialisationSettings(.refiner, draftScales: 2), budget: nil)
        }
        for change in [
            { (t: inout TinyVAR) in t.classes = 6 }, { $0.vocabulary = 25 }, { $0.channels = 5 },
            { $0.sides = [1, 2, 4] },
        ] {
            var other = TinyVAR()
            change(&other)
            let checkpoint = try Checkpoint.open(path: other.write(scene.directory, as: "other"))
            let teacher = try VAR(
                VARConfiguration(checkpoint.configuration, checkpoint.weights()), checkpoint.weights())
            #expect(throws: DiffError.self) {
                _ = try scene.step(SpecialisationSettings(.refiner, draftScales: 2), teacher: teacher)
            }
        }
        let step = try scene.step(SpecialisationSettings(.drafter, draftScales: 2))
        var tokens = scene.tokens
        tokens[1][3] = 24
        #expect(throws: DiffError.self) {
            _ = try step(tokens, labels: scene.labels, scene.run, teacher: scene.run)
        }
        #expect(throws: DiffError.self) {
            _ = try step(scene.tokens, labels: [0, 1, 6], scene.run, teacher: scene.run)
        }
    }

    @Test func weightDecayActsOnMatricesAlone() throws {
        for (name, dims) in TinyVAR().shapes {
            let shape = try Shape(dims)
            let isMatrix = name.hasSuffix(".weight") && dims.count == 2 && name != "lvl_embed.weight"
            #expect(SpecialisationLearning.decays(name, shape) == isMatrix, "\(name)")
        }
        #expect(try !SpecialisationLearning.decays("blocks.0.ada_gss", Shape(1, 1, 6, 8)))
    }
}

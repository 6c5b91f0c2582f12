import DiffAccel
import DiffCheckpoint
import DiffTensor
import DiffTraining
import TestSupport
import Testing

/// Routers of whole pipelines, whatever their networks predict: learned on the states that sampling comes to, and used there.
@Suite struct PipelineRouterTests {
    private static let steps = 4
    private static let batch = 2

    /// A pipeline with a scheduler, prompts in a file, and what a walk that changes nothing is told.
    private struct Scene {
        let directory: ScratchDirectory
        let tiny = TinyUNet()
        let path: String
        let positive: Tensor, negative: Tensor

        init(_ scheduler: [String: JSON]) throws {
            directory = try ScratchDirectory()
            path = try tiny.writePipeline(directory)
            var members: [String: JSON] = [
                "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1,
            ]
            for (name, value) in scheduler { members[name] = value }
            try directory.write(.object(members), as: "pipeline/scheduler/scheduler_config.json")
            var numbers = Numbers(8)
            positive = try numbers.tensor([3, 5, tiny.textWidth])
            negative = try numbers.tensor([1, 5, tiny.textWidth])
            try directory.write(
                ["prompt_embeds": positive, "negative_prompt_embeds": negative], as: "prompts.safetensors")
        }

        func settings(_ own: [String: JSON] = [:]) -> JSON {
            let members: [String: JSON] = [
                "method": "router", "trajectory": "own", "sampling_steps": .integer(PipelineRouterTests.steps),
                "steps": 8, "batch": .integer(PipelineRouterTests.batch), "seed": 4, "guidance": 3, "learning_rate": 0,
                "l1": 0, "threshold": 0.5, "prompts": .string("\(directory.path)/prompts.safetensors"),
            ]
            return .object(members.merging(own) { $1 })
        }

        /// The states after each step of a session under `plan`, from `noise`, told the prompts `labels`.
        func states(_ plan: Plan, labels: [Int], noise: Tensor) throws -> (after: [[Float]], reused: Int) {
            var rows: [Float] = []
            for label in labels { rows += try positive.rows(label, 1).array }
            var request = SampleRequest([
                "steps": .integer(PipelineRouterTests.steps), "guidance": 3, "sampler": "ddim", "decode": false,
            ])
            request.tensors["prompt_embeds"] = .floats(try Tensor(rows, Shape(labels.count, 5, tiny.textWidth)))
            request.tensors["negative_prompt_embeds"] = .floats(negative)
            request.tensors["noise"] = .floats(noise)
            var after: [[Float]] = []
            let result = try Model(path).session(plan).sample(request) { event in
                if event.stage == .denoise, let latents = event.latents { after.append(latents.array) }
                return .continue
            }
            return (after, result.statistics.sites.reused)
        }
    }

    static let schedulers: [[String: JSON]] = [
        ["prediction_type": "v_prediction", "timestep_spacing": "trailing"],
        ["prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": true],
        ["prediction_type": "v_prediction"], ["prediction_type": "sample", "timestep_spacing": "linspace"],
        ["prediction_type": "epsilon"], ["prediction_type": "sample", "clip_sample": true],
    ]

    @Test(arguments: schedulers.indices)
    func theOwnTrajectoryIsThatOfSampling(scheduler: Int) throws {
        let scene = try Scene(Self.schedulers[scheduler])
        let trainer = try Trainer(scene.path, scene.settings())
        let file = try scene.directory.file("state.safetensors")
        let shape = try Shape(Self.batch, scene.tiny.inChannels, scene.tiny.side, scene.tiny.side)
        for iteration in 0..<4 {
            try trainer.run(1)
            try trainer.save(to: file)
            let state = try LearningState(contentsOf: file)
            let labels = try #require(state.integers["trajectory.labels"])
            // Two groups a walk: the first two calls, then the other two.
            let (walk, group) = iteration.quotientAndRemainder(dividingBy: 2)
            var draws = StepDraws(seed: 4, step: 2 * walk, purpose: 3)
            let noise = try draws.normal(shape, Run(pool: nil, budget: nil))
            let sampled = try scene.states(trainer.plan(), labels: labels, noise: noise)
            #expect(sampled.after.count == Self.steps && sampled.reused > 0)
            let walked = try #require(state.tensors["trajectory"]).array
            #expect(sameBits(walked, sampled.after[2 * group + 1]), "iteration \(iteration)")
        }
    }

    /// The scheduler is read: none of these leads where another does.
    @Test func whatIsPredictedChangesTheWalk() throws {
        var states: [[Float]] = []
        for scheduler in Self.schedulers.prefix(5) {
            let scene = try Scene(scheduler)
            let trainer = try Trainer(scene.path, scene.settings())
            try trainer.run(1)
            let file = try scene.directory.file("state.safetensors")
            try trainer.save(to: file)
            states.append(try #require(LearningState(contentsOf: file).tensors["trajectory"]).array)
        }
        for (index, state) in states.enumerated() {
            #expect(states[..<index].allSatisfy { $0 != state })
        }
    }

    @Test func aPipelineAndItsNetworkLearnAlike() throws {
        let scene = try Scene(["prediction_type": "v_prediction", "timestep_spacing": "trailing"])
        let own: [String: JSON] = ["learning_rate": 0.2, "l1": 0.001, "steps": 6]
        let whole = try Trainer(scene.path, scene.settings(own))
        // The network's folder with the pipeline's scheduler beside it.
        let scheduler = try JSON(contentsOf: "\(scene.path)/scheduler/scheduler_config.json")
        try scene.directory.write(scheduler, as: "pipeline/unet/scheduler_config.json")
        let part = try Trainer("\(scene.path)/unet", scene.settings(own))
        let losses = (try whole.events().map(\.loss), try part.events().map(\.loss))
        #expect(losses.0 == losses.1 && losses.0.count == 6)
        #expect(try whole.plan().json == part.plan().json)
    }

    @Test func learningHonoursHowConvolutionsAreComputed() throws {
        let scene = try Scene(["prediction_type": "v_prediction"])
        var losses: [[Double]] = []
        for method in ["direct", "winograd"] {
            var options = ModelOptions()
            options.settings = try ModelSettings(["convolution": .string(method)])
            losses.append(
                try Trainer(scene.path, scene.settings(["steps": 2]), options).events().map { event in
                    event.terms["error"] ?? .nan
                })
        }
        #expect(losses[0] != losses[1])
        #expect(zip(losses[0], losses[1]).allSatisfy { abs($0 - $1) < 1e-2 * $0 })
    }

    @Test func theEstimateIsTheMeasuredPeak() throws {
        let scene = try Scene(["prediction_type": "v_prediction"])
        try expectEstimate(scene.path, scene.settings(["steps": 2]), "a pipeline")
    }

    @Test func noisedDataServeAVelocityToo() throws {
        let scene = try Scene(["prediction_type": "v_prediction", "timestep_spacing": "trailing"])
        var numbers = Numbers(3)
        let side = scene.tiny.side
        try scene.directory.write(
            ["latents": numbers.tensor([6, scene.tiny.inChannels, side, side])], as: "x.safetensors")
        let labels = try scene.directory.write(integers: [0, 1, 2, 0, 1, 2], [6], as: "y.npy")
        let trainer = try Trainer(
            scene.path,
            scene.settings([
                "trajectory": "data", "learning_rate": 0.5, "steps": 60, "guidance": 1, "label_dropout": 0,
                "data": .object([
                    "latents": .string("\(scene.directory.path)/x.safetensors"), "labels": .string(labels),
                ]),
            ]))
        guard case .object(let before) = try trainer.evaluate(batches: 6) else { return }
        try trainer.run()
        guard case .object(let after) = try trainer.evaluate(batches: 6) else { return }
        // Without a penalty nearly everything is computed in the end.
        let errors = (try #require(before["error"]?.asDouble), try #require(after["error"]?.asDouble))
        #expect(errors.0 > 0 && errors.1 < errors.0)
    }

    @Test func otherNetworksAreRefused() throws {
        let directory = try ScratchDirectory()
        _ = try TinyMMDiT().write(directory, as: "sd3/transformer")
        try directory.write(
            .object([
                "_class_name": "StableDiffusion3Pipeline",
                "transformer": .array([.string("diffusers"), .string("SD3Transformer2DModel")]),
            ]), as: "sd3/model_index.json")
        let scene = try Scene([:])
        let error = failure { _ = try Trainer("\(directory.path)/sd3", scene.settings()) }
        #expect(error?.code == .unsupported && error?.message.contains("Stable Diffusion 3") == true)
        #expect(failure { _ = try Trainer(scene.path, scene.settings(["prompts": .null])) } != nil)
    }
}

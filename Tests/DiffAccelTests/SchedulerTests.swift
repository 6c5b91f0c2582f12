import DiffAccel
import TestSupport
import Testing

/// A pipeline folder whose scheduler is what a test says.
private struct Pipeline {
    let directory: ScratchDirectory
    private let conventions: DiTConventions

    init(_ scheduler: [String: JSON]?, conventions: DiTConventions = .diffusers, dit: TinyDiT = TinyDiT()) throws {
        (directory, self.conventions) = (try ScratchDirectory(), conventions)
        try directory.write(.object(["_class_name": .string("DiTPipeline")]), as: "model_index.json")
        try directory.write(dit.diffusersConfig, as: "transformer/config.json")
        try directory.write(dit.diffusersTensors(dit.tensors()), as: "transformer/diffusion_pytorch_model.safetensors")
        if let scheduler { try directory.write(.object(scheduler), as: "scheduler/scheduler_config.json") }
    }

    func model() throws -> Model {
        var options = ModelOptions()
        options.conventions = conventions.rawValue
        return try Model(directory.path, options)
    }

    func sample(_ change: (inout SampleRequest) -> Void = { _ in }) throws -> SampleResult {
        var request = request(steps: 5)
        change(&request)
        return try model().session().sample(request)
    }
}

/// DDIM as published pipelines have it.
private let published: [String: JSON] = [
    "_class_name": .string("DDIMScheduler"), "_diffusers_version": .string("0.12.0.dev0"),
    "num_train_timesteps": .integer(1000), "beta_start": .number(0.0001), "beta_end": .number(0.02),
    "beta_schedule": .string("linear"), "trained_betas": .null, "clip_sample": .bool(false),
    "set_alpha_to_one": .bool(true), "steps_offset": .integer(0), "prediction_type": .string("epsilon"),
]

@Suite struct SchedulerTests {
    private func changed(_ changes: [String: JSON]) -> [String: JSON] { published.merging(changes) { $1 } }

    @Test func thePublishedSchedulerIsThatOfTheConventions() throws {
        let plain = try Pipeline(nil).sample()
        let named = try Pipeline(published).sample()
        #expect(sameBits(named.state, plain.state) && named.statistics.sampler == "ddim")
        // Without conventions for diffusers the scheduler decides all the same.
        let official = try Pipeline(published, conventions: .official).sample { $0["guidance_channels"] = "all" }
        #expect(official.statistics.steps.map(\.timestep) == [800, 600, 400, 200, 0])
    }

    /// Every key that changes results does.
    @Test(arguments: [
        ["prediction_type": JSON.string("v_prediction")], ["prediction_type": .string("sample")],
        ["beta_schedule": .string("scaled_linear")], ["beta_schedule": .string("squaredcos_cap_v2")],
        ["beta_start": .number(0.0002)], ["beta_end": .number(0.01)], ["num_train_timesteps": .integer(900)],
        ["steps_offset": .integer(1)], ["timestep_spacing": .string("trailing")],
        ["timestep_spacing": .string("linspace")], ["clip_sample": .bool(true)], ["clip_sample": .null],
        ["clip_sample": .bool(true), "clip_sample_range": .number(0.5)],
        ["steps_offset": .integer(1), "set_alpha_to_one": .bool(false)],
        ["trained_betas": .array(Array(repeating: .number(0.004), count: 1000))],
        ["prediction_type": .string("v_prediction"), "rescale_betas_zero_snr": .bool(true)],
        ["_class_name": .string("DDPMScheduler")],
        ["_class_name": .string("DDPMScheduler"), "variance_type": .string("fixed_large")],
        ["_class_name": .string("DDPMScheduler"), "variance_type": .string("learned_range")],
    ])
    func everySettingHasItsEffect(_ changes: [String: JSON]) throws {
        // Where a setting goes with another one, its effect is seen beside the other alone.
        let others: [String: [String: JSON]] = [
            "clip_sample_range": ["clip_sample": .bool(true)], "set_alpha_to_one": ["steps_offset": .integer(1)],
            "rescale_betas_zero_snr": ["prediction_type": .string("v_prediction")],
            "variance_type": ["_class_name": .string("DDPMScheduler")],
        ]
        let base = changes.keys.compactMap { others[$0] }.first ?? [:]
        let (plain, with) = (try Pipeline(changed(base)).sample(), try Pipeline(changed(changes)).sample())
        #expect(Difference(with.state, plain.state).relative > 1e-4)
    }

    /// Keys that change nothing: no difference, no refusal.
    @Test(arguments: [
        ["dynamic_thresholding_ratio": JSON.number(0.9)], ["sample_max_value": .number(2)],
        ["thresholding": .bool(false)], ["rescale_betas_zero_snr": .bool(false)], ["skip_prk_steps": .bool(true)],
        ["clip_sample_range": .number(3)], ["timestep_spacing": .string("leading")],
        ["a_key_of_next_year": .integer(1)],
    ])
    func otherSettingsHaveNone(_ changes: [String: JSON]) throws {
        #expect(try sameBits(Pipeline(changed(changes)).sample().state, Pipeline(published).sample().state))
    }

    @Test(arguments: [
        (["thresholding": JSON.bool(true)], "thresholding"), (["use_beta_sigmas": .bool(true)], "use_beta_sigmas"),
        (["_class_name": .string("FlowMatchEulerDiscreteScheduler")], "FlowMatchEulerDiscreteScheduler"),
        (["_class_name": .string("NoSuchScheduler")], "NoSuchScheduler"),
        (["rescale_betas_zero_snr": .bool(true)], "rescale_betas_zero_snr"),
        (["_class_name": .string("DDPMScheduler"), "variance_type": .string("learned")], "learned_range"),
        (["_class_name": .string("DDPMScheduler"), "variance_type": .string("fixed_large_log")], "fixed_large"),
        (["predict_epsilon": .bool(false)], "prediction_type"),
    ])
    func whatIsNotSupportedIsRefusedByName(_ changes: [String: JSON], _ name: String) throws {
        let error = try #require(failure { _ = try Pipeline(changed(changes)).model() })
        #expect(error.code == .unsupported && error.message.contains(name) && error.message.contains("scheduler"))
    }

    @Test(arguments: [
        ["prediction_type": JSON.string("score")], ["beta_schedule": .string("quadratic")],
        ["beta_start": .number(2)], ["steps_offset": .integer(-1)], ["timestep_spacing": .integer(1)],
        ["clip_sample": .integer(2)], ["clip_sample_range": .number(-1)], ["trained_betas": .array([.number(2)])],
        ["num_train_timesteps": .number(0.5)],
    ])
    func badValuesAreNamed(_ changes: [String: JSON]) throws {
        let error = try #require(failure { _ = try Pipeline(changed(changes)).model() })
        #expect(error.code == .format && error.message.contains(changes.keys.first ?? "?"))
    }

    @Test func requestsComeBeforeTheScheduler() throws {
        let pipeline = try Pipeline(changed(["steps_offset": .integer(1)]))
        func timesteps(_ change: (inout SampleRequest) -> Void) throws -> [Double] {
            try pipeline.sample(change).statistics.steps.map(\.timestep)
        }
        #expect(try timesteps { _ in } == [801, 601, 401, 201, 1])
        #expect(try timesteps { $0["steps_offset"] = 3 } == [803, 603, 403, 203, 3])
        #expect(try timesteps { $0["spacing"] = "trailing" } == [999, 799, 599, 399, 199])
        #expect(try timesteps { $0["spacing"] = "even" } == [999, 749, 500, 250, 0])
        #expect(try timesteps { $0["sampler"] = "DDPMScheduler" } == [801, 601, 401, 201, 1])
        let error = failure { _ = try timesteps { ($0["spacing"], $0["steps_offset"]) = ("trailing", 1) } }
        #expect(error?.code == .invalidArgument)
    }

    @Test func descriptionsNameTheSampler() throws {
        let changes: [String: JSON] = [
            "_class_name": .string("DPMSolverMultistepScheduler"), "algorithm_type": .string("sde-dpmsolver++"),
            "use_karras_sigmas": .bool(true), "prediction_type": .string("v_prediction"),
        ]
        guard case .object(let facts) = try Pipeline(changes).model().description else { return }
        #expect(facts["sampler"] == .string("dpmpp_2m_sde") && facts["prediction_type"] == .string("v_prediction"))
        #expect(try Pipeline(changes).sample().statistics.sampler == "dpmpp_2m_sde")
    }

    /// What other samplers take over from the model's scheduler, and what they cannot.
    @Test func otherSamplersKeepTheProcess() throws {
        let plain = try Pipeline(published).sample { $0["sampler"] = "euler" }
        let other = try Pipeline(changed(["prediction_type": .string("v_prediction")])).sample {
            $0["sampler"] = "euler"
        }
        #expect(Difference(other.state, plain.state).relative > 1e-3)
        let clips = try Pipeline(changed(["clip_sample": .bool(true)]))
        let error = try #require(failure { _ = try clips.sample { $0["sampler"] = "euler" } })
        #expect(error.code == .unsupported && error.message.contains("clip_sample"))
        #expect(failure { _ = try clips.sample { $0["sampler"] = "heun" } } == nil)
    }

    @Test func samplersThatDoNotExistAreNamed() throws {
        let error = try #require(failure { _ = try Pipeline(published).sample { $0["sampler"] = "dpm_fast" } })
        #expect(error.code == .invalidArgument && error.message.contains("\"ddim\", \"ddpm\""))
    }

    /// Our own config follows the official code: noise is derived from the clamped image.
    @Test func ourOwnConfigClips() throws {
        func sample(_ diffusion: [String: JSON], _ change: (inout SampleRequest) -> Void = { _ in }) throws
            -> SampleResult
        {
            let directory = try ScratchDirectory()
            let dit = TinyDiT()
            guard case .object(var members) = dit.config else { throw DiffError(.internal, "no object") }
            members["diffusion"] = .object(diffusion)
            try directory.write(.object(members), as: "config.json")
            try directory.write(dit.tensors(), as: "model.safetensors")
            var request = request(steps: 5)
            change(&request)
            return try Model(directory.path).session().sample(request)
        }
        let plain = try sample([:])
        for sampler in ["ddim", "ddpm"] {
            let (free, clipped) = (
                try sample([:]) { $0["sampler"] = sampler },
                try sample(["clip_denoised": .bool(true)]) { $0["sampler"] = sampler }
            )
            #expect(Difference(clipped.state, free.state).relative > 1e-3)
            // The last step of both ends at the clamped image itself.
            #expect(clipped.state.allSatisfy { abs($0) <= 1 } && free.state.contains { abs($0) > 1 })
        }
        #expect(try sameBits(sample(["clip_denoised": .bool(false)]).state, plain.state))
        #expect(
            try sample(["respacing": .string("ddim5")]).statistics.steps.map(\.timestep) == [800, 600, 400, 200, 0])
        let sections = try sample(["respacing": .string("2,3")])
        #expect(sections.statistics.steps.map(\.timestep) == [999, 750, 500, 499, 0])
        #expect(failure { _ = try sample(["respacing": .string("many")]) }?.code == .format)
        #expect(try Difference(sample(["prediction_type": .string("sample")]).state, plain.state).relative > 1e-3)
    }
}

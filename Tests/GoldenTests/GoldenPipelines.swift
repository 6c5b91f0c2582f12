import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffSampling
import DiffTensor

/// Whole pipelines by the library's own entry, from prompts to pictures: `sd-e2e`, `sdxl-e2e`, `sd3-e2e`.
enum GoldenPipelines {
    /// NOTES.md of all three.
    private static let latents = GoldenTolerance.absolute(1e-3)

    /// What a run made: the state after every call, and the picture in 0 … 1 and as bytes, [n, C, H, W].
    private struct Made {
        var states: [Float] = []
        let picture: [Float]
        let levels: [Double]

        init(_ session: Session, _ request: SampleRequest) throws {
            var states: [Float] = []
            let result = try session.sample(request) { event in
                if event.stage == .denoise, let state = event.latents { states += state.array }
                return .continue
            }
            self.states = states
            picture = (result.pixels?.array ?? []).map { min(max($0 / 2 + 0.5, 0), 1) }
            guard let images = result.images else {
                levels = []
                return
            }
            let (c, area) = (images.channels, images.height * images.width)
            levels = images.withBytes { bytes in
                (0..<bytes.count).map { index in
                    let (sample, channel, pixel) = (index / (c * area), index / area % c, index % area)
                    return Double(bytes[(sample * area + pixel) * c + channel])
                }
            }
        }
    }

    /// Compares what is recorded of `name`.
    private static func compare(
        _ name: String, _ made: Made, picture: Double, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        if fixture.has("\(name).latents") { try report.compare("\(name).latents", made.states, latents) }
        try report.compare("\(name).image01", made.picture, .absolute(picture))
        if fixture.has("\(name).image_u8") { try report.compare("\(name).image_u8", made.levels, .absolute(1)) }
    }

    // MARK: Stable Diffusion 1

    /// `sd-e2e`: each scheduler from the recorded noise, from texts and from their recorded embeddings.
    static func single(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let model = try Model("\(fixture.path)/model")
        let (runs, texts) = (try fixture.config.object("runs"), try sizes(fixture.config))
        report.uses("init_noise", "prompt_embeds", "negative_prompt_embeds")
        report.leaves("input_ids", because: "tokens are compared by GoldenPromptTests")
        report.leaves("negative_input_ids", because: "tokens are compared by GoldenPromptTests")
        let noise = NamedTensor.floats(try fixture.tensor("init_noise"))
        for name in runs.members.keys.sorted() {
            let run = try runs.object(name)
            let plan = try asynchronous(run)
            var request = SampleRequest(texts, tensors: ["noise": noise])
            request["prompt"] = try fixture.config.string("prompt")
            request["negative_prompt"] = try fixture.config.string("negative_prompt")
            try schedule(&request, run)
            let made = try Made(model.session(plan), request)
            try compare(name, made, picture: 1e-3, fixture, &report)
            (request["prompt"], request["negative_prompt"]) = (nil as JSON?, nil as JSON?)
            for key in ["prompt_embeds", "negative_prompt_embeds"] {
                request.tensors[key] = .floats(try fixture.tensor(key))
            }
            try compare(name, Made(model.session(plan), request), picture: 1e-3, fixture, &report)
        }
        let batch = try fixture.config.object("batch2")
        var request = SampleRequest(texts)
        request["prompt"] = batch.value("prompts")
        request["negative_prompt"] = try fixture.config.string("negative_prompt")
        request["seed"] = batch.value("seed")
        request["steps"] = batch.value("steps")
        request["sampler"] = batch.value("scheduler")
        request["guidance"] = batch.value("guidance_scale")
        let name = "batch2_seed\(try batch.integer("seed", in: 0...Int.max))"
        try compare(name, Made(model.session(), request), picture: 1e-3, fixture, &report)
    }

    private static func sizes(_ config: JSONObject) throws -> [String: JSON] {
        ["height": config.value("height") ?? .null, "width": config.value("width") ?? .null]
    }

    /// The plan of a run; the plain model where it names none.
    private static func asynchronous(_ run: JSONObject) throws -> Plan {
        guard case .object? = run.value("asyncdiff") else { return Plan() }
        let settings = try run.object("asyncdiff")
        return try Plan([
            AsyncPlan(
                components: settings.integer("model_n", in: 2...4), stride: settings.integer("stride", in: 1...2),
                warmUp: settings.integer("warm_up", in: 1...100),
                timeShift: settings.bool("time_shift", default: false),
                variant: settings.string("variant") == "paper" ? .paper : .released)
        ])
    }

    private static func schedule(_ request: inout SampleRequest, _ run: JSONObject) throws {
        request["sampler"] = run.value("scheduler")
        request["steps"] = run.value("num_inference_steps")
        request["guidance"] = run.value("guidance_scale")
    }

    // MARK: SDXL and SD3

    /// `sdxl-e2e`, `sd3-e2e`: runs by their seeds, and from their recorded embeddings.
    static func several(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let path = "\(fixture.path)/model"
        let model = try Model(path)
        for entry in try fixture.config.objects("runs") {
            let name = try entry.string("name")
            var request = try asked(entry.object("kw"))
            request["seed"] = entry.value("seed")
            if case .bool(false)? = entry.value("use_t5") {
                try withoutT5(name, path, request, fixture, &report)
            } else {
                try compare(name, Made(model.session(), request), picture: 5e-4, fixture, &report)
            }
            try embedded(name, model, request, fixture, &report)
        }
    }

    /// The arguments of diffusers' pipelines under the library's names.
    private static func asked(_ arguments: JSONObject) throws -> SampleRequest {
        let names = [
            "num_inference_steps": "steps", "guidance_scale": "guidance", "crops_coords_top_left": "crop",
            "negative_crops_coords_top_left": "negative_crop",
        ]
        var request = SampleRequest()
        for (name, value) in arguments.members { request[names[name] ?? name] = value }
        return request
    }

    /// T5 left out by the setting, and by a folder that has none.
    private static func withoutT5(
        _ name: String, _ path: String, _ request: SampleRequest, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        var options = ModelOptions()
        options.settings.usesT5 = false
        try compare(name, Made(Model(path, options).session(), request), picture: 5e-4, fixture, &report)
        let folder = try ScratchLink(of: path, without: "text_encoder_3")
        var followed = ModelOptions()
        followed.followLinks = true
        try compare(name, Made(Model(folder.path, followed).session(), request), picture: 5e-4, fixture, &report)
    }

    /// The same from what the text encoders of the reference made.
    private static func embedded(
        _ name: String, _ model: Model, _ asked: SampleRequest, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        var request = asked
        for key in asked.options.keys where key.contains("prompt") || key == "clip_skip" || key == "max_sequence_length"
        {
            request[key] = nil as JSON?
        }
        for key in ["prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds"]
        where fixture.has("\(name).\(key)") {
            request.tensors[key] = .floats(try fixture.tensor("\(name).\(key)"))
        }
        try compare(name, Made(model.session(), request), picture: 5e-4, fixture, &report)
    }

    /// `sdxl-e2e`: each step by itself, then all of it.
    static func sdxl(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        try GoldenUNetSteps.pipeline(fixture, &report)
        try several(fixture, &report)
    }

    /// `sd3-e2e`: the transformer from recorded embeddings, then all of it.
    static func sd3(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        try GoldenMMDiT.endToEnd(fixture, &report)
        try several(fixture, &report)
    }
}

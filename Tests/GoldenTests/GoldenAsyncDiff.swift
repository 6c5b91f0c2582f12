import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import Foundation
import TestSupport

/// Asynchronous denoising in sessions of whole pipelines, beside recorded runs of the official code in several processes: `asyncdiff-sd15`,
/// `-sd21`, `-sdxl`, `-sd3`.
enum GoldenAsyncDiff {
    /// NOTES.md: latents. Any two of the runs differ by far more.
    static let latents = GoldenTolerance.absolute(1e-3)

    private static let classes = [
        "ddim": "DDIMScheduler", "ddim_v": "DDIMScheduler", "euler": "EulerDiscreteScheduler",
        "dpmpp": "DPMSolverMultistepScheduler", "pndm": "PNDMScheduler", "flow": "FlowMatchEulerDiscreteScheduler",
    ]

    /// The plain run, then the recorded ones, each by both executors.
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let scratch = try ScratchDirectory()
        let schedulers = try fixture.config.object("schedulers")
        var models: [String: Model] = [:]
        for name in schedulers.keys { models[name] = try pipeline(fixture, schedulers.object(name), name, scratch) }
        for name in fixture.keys("") where name.hasSuffix("prompt_embeds") || name == "init_noise" { report.uses(name) }
        report.leaves("debug.", because: "a wrong tensor between modules shows in the states")
        let usual = try fixture.config.string("scheduler")
        for key in fixture.keys("") where key.hasSuffix(".latents") {
            let tag = String(key.dropLast(".latents".count))
            let run = Tag(tag)
            guard let model = models[run.scheduler ?? usual] else {
                report.verify(tag, "no scheduler \(run.scheduler ?? usual)")
                continue
            }
            var results: [[Float]] = []
            for executor in run.entry == nil ? [""] : ["sequential", "threads"] {
                let states = try states(model, run.plan(executor), run.steps, fixture)
                results.append(states)
                let shape = try fixture.shape(key)
                let first = Array(try fixture.floats(key).prefix(shape.count / max(1, shape[0])))
                try report.compare(key, first + states, latents)
            }
            report.verify("\(tag), executors", Set(results).count == 1 ? nil : "the executors' bits differ")
            report.leaves("\(tag).pred", because: "the states follow from it")
        }
        try explicit(models[usual], fixture, &report)
    }

    /// The states after each call of a run under `plan`.
    private static func states(
        _ model: Model, _ plan: Plan, _ steps: Int?, _ fixture: GoldenFixture
    ) throws -> [Float] {
        var request = SampleRequest(["decode": false])
        request["guidance"] = fixture.config.value("guidance_scale")
        request["steps"] = try .integer(steps ?? fixture.config.integer("num_inference_steps", in: 1...1000))
        request.tensors["noise"] = .floats(try fixture.tensor("init_noise"))
        for key in fixture.keys("") where key.hasSuffix("prompt_embeds") {
            request.tensors[key] = .floats(try fixture.tensor(key))
        }
        var options = SessionOptions()
        options.threads = 2
        var states: [Float] = []
        _ = try model.session(plan, options).sample(request) { event in
            if event.stage == .denoise, let state = event.latents { states += state.array }
            return .continue
        }
        return states
    }

    /// The official split, listed as the fixture lists it.
    private static func explicit(_ model: Model?, _ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        guard let model else { return }
        let lists = try fixture.config.object("components")
        for components in lists.keys {
            guard let split = lists.value(components), let count = Int(components) else { continue }
            let named = try Plan(
                .object(["method": "async", "components": .integer(count), "split": split]), source: "")
            let chosen = try Plan(.object(["method": "async", "components": .integer(count)]), source: "")
            let same = try states(model, named, nil, fixture) == states(model, chosen, nil, fixture)
            report.verify("components.\(components)", same ? nil : "the split chosen by architecture is another")
        }
    }

    /// A pipeline folder of the recorded network and a scheduler.
    private static func pipeline(
        _ fixture: GoldenFixture, _ scheduler: JSONObject, _ name: String, _ scratch: ScratchDirectory
    ) throws -> Model {
        let network = try fixture.config.object("model")
        let isFlow = name == "flow"
        let part = isFlow ? "transformer" : "unet"
        let pipeline =
            isFlow
            ? "StableDiffusion3Pipeline"
            : network.has("addition_embed_type") && network.value("addition_embed_type") != .null
                ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline"
        let networkClass = isFlow ? "SD3Transformer2DModel" : "UNet2DConditionModel"
        try scratch.write(
            .object([
                "_class_name": .string(pipeline),
                part: .array([.string("diffusers"), .string(networkClass)]),
                "scheduler": .array([.string("diffusers"), .string(classes[name] ?? "")]),
            ]), as: "\(name)/model_index.json")
        var config = network.members
        config["_class_name"] = .string(networkClass)
        try scratch.write(.object(config), as: "\(name)/\(part)/config.json")
        // A copy: a pipeline's files are not looked for outside of its folder.
        try FileManager.default.copyItem(
            atPath: "\(fixture.path)/weights.safetensors",
            toPath: scratch.file("\(name)/\(part)/diffusion_pytorch_model.safetensors"))
        var settings = scheduler.members.filter { $0.value != .null }
        // JSON has no infinity; the setting's default is none.
        if case .number(let least)? = settings["lambda_min_clipped"], !least.isFinite {
            settings["lambda_min_clipped"] = nil
        }
        settings["_class_name"] = .string(classes[name] ?? "")
        try scratch.write(.object(settings), as: "\(name)/scheduler/scheduler_config.json")
        return try Model("\(scratch.path)/\(name)")
    }

    /// What the name of a run says: `n3s2.w1.ts0.euler.T9.paper`.
    private struct Tag {
        var entry: [String: JSON]?
        var scheduler: String?
        var steps: Int?

        init(_ tag: String) {
            for part in tag.split(separator: ".").map(String.init) {
                if let both = part.wholeMatch(of: #/n(\d)s(\d)/#) {
                    entry = ["method": "async"]
                    entry?["components"] = Int(both.1).map { .integer($0) }
                    entry?["stride"] = Int(both.2).map { .integer($0) }
                } else if let warm = part.wholeMatch(of: #/w(\d+)/#) {
                    entry?["warm_up"] = Int(warm.1).map { .integer($0) }
                } else if let shift = part.wholeMatch(of: #/ts(\d)/#) {
                    entry?["time_shift"] = .bool(shift.1 == "1")
                } else if let count = part.wholeMatch(of: #/T(\d+)/#) {
                    steps = Int(count.1)
                } else if part == "paper" || part == "official" {
                    entry?["variant"] = part == "paper" ? "paper" : "released"
                } else if part != "sequential" {
                    scheduler = part
                }
            }
        }

        func plan(_ executor: String) throws -> Plan {
            guard var entry else { return Plan() }
            entry["executor"] = .string(executor)
            return try Plan(.object(entry), source: "tag")
        }
    }
}

import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor

/// Whole pipelines of sounds by the library's own entry, from prompts to waveforms: `audioldm2-e2e`, `audioldm-e2e`.
enum GoldenAudioPipelines {
    private static let latents = GoldenTolerance.absolute(1e-3)
    private static let waveforms = GoldenTolerance.absolute(2e-4)

    /// What a run made: the state after every call, and what it became.
    private struct Made {
        var states: [Float] = []
        let audio: [Float], mel: [Float]

        init(_ session: Session, _ request: SampleRequest) throws {
            var (states, stretches): ([Float], [Int: [Float]]) = ([], [:])
            let result = try session.sample(request) { event in
                if event.stage == .denoise, let state = event.latents { states += state.array }
                if let audio = event.audio { stretches[audio.waveform, default: []] += audio.samples.array }
                return .continue
            }
            self.states = states
            audio = try result.tensor("audio").tensor?.array ?? []
            mel = try result.tensor("mel").tensor?.array ?? []
            let streamed = stretches.keys.sorted().flatMap { stretches[$0] ?? [] }
            if streamed != audio { throw DiffError(.internal, "the stretches are not the sound") }
        }
    }

    /// LiteFocus with the keys of a recorded run.
    // Unchecked: one session at a time has it.
    private struct RecordedKeys: PlanEntry, @unchecked Sendable {
        static let method = "recorded_keys"
        static let options: [OptionSpec] = []
        private let made: any Acceleration

        init(_ name: String, _ model: Model, _ fixture: GoldenFixture) throws {
            let recorded = try fixture.config.object("litefocus")
            let settings = try JSONObject(
                .object([
                    "level": 1, "modules": recorded.value("modules") ?? .null, "config": .object(recorded.members),
                ]),
                source: "config.json")
            made = try GoldenLiteFocus.method(
                settings, model.layout, keys: fixture.integers("\(name).indices"),
                calls: fixture.shape("\(name).latents")[0], scope: .all)
        }

        init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
            throw DiffError(.unsupported, "recorded keys are in no plan")
        }

        var json: JSON { .object(["method": .string(Self.method)]) }
        func check(_ layouts: [SiteLayout]) throws(DiffError) {}
        func makeAcceleration() -> any Acceleration { made }
    }

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        try GoldenAudioNetworks.check(fixture, &report)
        let model = try Model("\(fixture.path)/model")
        for entry in try fixture.config.objects("runs") {
            let name = try entry.string("name")
            var request = try asked(entry.object("kw"))
            request["seed"] = entry.value("seed")
            if entry.has("lf") {
                let plan = Plan([try RecordedKeys(name, model, fixture)])
                try compare(name, Made(model.session(plan), request), fixture, &report)
                continue
            }
            try compare(name, Made(model.session(), request), fixture, &report)
            try embedded(name, model, request, fixture, &report)
            try noted(name, model, request, fixture, &report)
        }
    }

    private static func compare(
        _ name: String, _ made: Made, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        try report.compare("\(name).latents", made.states, latents)
        try report.compare("\(name).mel", made.mel, latents)
        try report.compare("\(name).waveform", made.audio, waveforms)
    }

    /// The arguments of diffusers' pipelines under the library's names.
    static func asked(_ arguments: JSONObject) throws -> SampleRequest {
        let names = [
            "num_inference_steps": "steps", "guidance_scale": "guidance", "audio_length_in_s": "seconds",
            "num_waveforms_per_prompt": "waveforms_per_prompt",
        ]
        var request = SampleRequest()
        for (name, value) in arguments.members { request[names[name] ?? name] = value }
        return request
    }

    /// The same from what the text side of the reference made, and from its noise.
    private static func embedded(
        _ name: String, _ model: Model, _ asked: SampleRequest, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        var request = asked
        for key in ["prompt", "negative_prompt"] { request[key] = nil as JSON? }
        let count = try fixture.shape("\(name).init_noise")[0]
        request["waveforms_per_prompt"] = 1
        report.uses("\(name).init_noise", "\(name).timesteps")
        request.tensors["noise"] = .floats(try fixture.tensor("\(name).init_noise"))
        if fixture.has("\(name).step_noise") {
            report.uses("\(name).step_noise")
            request.tensors["step_noise"] = .floats(try fixture.tensor("\(name).step_noise"))
        }
        let keys = ["prompt_embeds", "attention_mask", "generated_prompt_embeds", "class_labels"]
        guard keys.contains(where: { fixture.has("\(name).\($0)") }) else { return }
        for key in keys where fixture.has("\(name).\(key)") {
            report.uses("\(name).\(key)")
            let both =
                key == "attention_mask"
                ? try Tensor(fixture.integers("\(name).\(key)").map(Float.init), fixture.shape("\(name).\(key)"))
                : try fixture.tensor("\(name).\(key)")
            let option = key == "class_labels" ? "prompt_embeds" : key
            request.tensors[option] = .floats(try both.rows(both.shape[0] - count, count))
            if both.shape[0] > count { request.tensors["negative_\(option)"] = .floats(try both.rows(0, count)) }
        }
        try compare(name, Made(model.session(), request), fixture, &report)
    }

    /// Tokens and what the encoders make of them, part by part.
    private static func noted(
        _ name: String, _ model: Model, _ request: SampleRequest, _ fixture: GoldenFixture,
        _ report: inout GoldenReport
    ) throws {
        let folder = try Checkpoint.open(path: "\(fixture.path)/model")
        let clap = try AudioPart("", folder), t5 = try AudioPart("_2", folder)
        for (prefix, option) in [("", "prompt"), ("negative_", "negative_prompt")] {
            let texts = texts(request[option], like: request["prompt"])
            let ids = "\(name).\(prefix)clap_ids"
            if fixture.has(ids), let clap {
                let length = try fixture.shape(ids).last
                let rows = try texts.map { try clap.prompts.row($0, length: length) }
                try report.compare(ids, integers: rows.flatMap(\.ids))
                if fixture.has("\(name).\(prefix)clap_mask") {
                    try report.compare(
                        "\(name).\(prefix)clap_mask", integers: rows.flatMap { $0.mask.map { $0 ? 1 : 0 } })
                }
                let features = "\(name).\(prefix)clap_features"
                if fixture.has(features), let encoder = clap.clap {
                    let run = Run(pool: nil, budget: nil)
                    let short = try rows.flatMap { try encoder([Array($0.ids.prefix($0.count))], run).vectors.array }
                    try report.compare(features, short, GoldenCLAP.states)
                }
            }
            let states = "\(name).\(prefix)t5_ids"
            if fixture.has(states), let t5 {
                let length = try fixture.shape(states).last
                let rows = try texts.map { try t5.prompts.row($0, length: length) }
                try report.compare(states, integers: rows.flatMap(\.ids))
                try report.compare(
                    "\(name).\(prefix)t5_mask", integers: rows.flatMap { $0.mask.map { $0 ? 1 : 0 } })
            }
        }
    }

    private static func texts(_ value: JSON?, like other: JSON?) -> [String] {
        switch value {
        case .string(let text)?: return [text]
        case .array(let list)?:
            return list.map { if case .string(let text) = $0 { text } else { "" } }
        default:
            if case .array(let list)? = other { return list.map { _ in "" } }
            return [""]
        }
    }

    private struct AudioPart {
        let prompts: PromptTokenizer
        let clap: CLAPTextEncoder?

        init?(_ number: String, _ folder: Checkpoint) throws {
            guard try folder.hasSubdirectory("text_encoder\(number)"), let directory = folder.directory,
                let prompts = try PromptTokenizer(in: directory.subdirectory("tokenizer\(number)"))
            else { return nil }
            self.prompts = prompts
            let checkpoint = try folder.subdirectory("text_encoder\(number)")
            clap =
                number.isEmpty
                ? try CLAPTextEncoder(CLAPTextConfiguration(checkpoint.configuration), checkpoint.weights()) : nil
        }
    }
}

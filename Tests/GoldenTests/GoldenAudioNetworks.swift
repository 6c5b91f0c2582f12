import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// The networks of `audioldm-e2e` and `audioldm2-e2e` from recorded conditionings on: denoising, mel and waveform, dense and with
/// LiteFocus under the recorded keys.
enum GoldenAudioNetworks {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        func part(_ name: String) throws -> Checkpoint { try Checkpoint.open(path: "\(fixture.path)/model/\(name)") }
        let (unet, vae, vocoder) = (try part("unet"), try part("vae"), try part("vocoder"))
        let network = try UNet(UNetConfiguration(unet.configuration), unet.weights())
        let autoencoder = try Autoencoder(AutoencoderConfiguration(vae.configuration), vae.weights())
        let voice = try Vocoder(VocoderConfiguration(vocoder.configuration), vocoder.weights())
        let scheduler = try JSONObject(
            JSON(contentsOf: "\(fixture.path)/model/scheduler/scheduler_config.json"), source: "scheduler_config.json")
        for entry in try fixture.config.objects("runs") {
            let (name, arguments) = (try entry.string("name"), try entry.object("kw"))
            // The run with LiteFocus was told what the plain one was. What others were told may not be recorded.
            let told = name == "litefocus" ? "plain" : name
            guard fixture.has("\(told).class_labels") || fixture.has("\(told).prompt_embeds") else {
                report.leaves("\(name).", because: "what the network was told is not recorded: of whole pipelines")
                continue
            }
            let steps = try fixture.shape("\(name).latents")[0]
            let guided = GoldenAudioSteps.Guided(
                network: network, conditioning: try conditioning(told, fixture, &report),
                scale: Float(try arguments.number("guidance_scale", in: 0...100)), scheduler: scheduler, steps: steps)
            var methods: [any Acceleration] = []
            if name == "litefocus" {
                report.uses("litefocus.indices")
                let recorded = try fixture.config.object("litefocus")
                let settings = try JSONObject(
                    .object([
                        "level": 1, "modules": recorded.value("modules") ?? .null, "config": .object(recorded.members),
                    ]),
                    source: "config.json")
                methods = [
                    try GoldenLiteFocus.method(
                        settings, network.layout, keys: fixture.integers("litefocus.indices"), calls: steps, scope: .all
                    )
                ]
            }
            report.uses("\(name).init_noise", "\(name).step_noise", "\(name).timesteps")
            let noise = try fixture.has("\(name).step_noise") ? fixture.tensor("\(name).step_noise") : nil
            let states = try guided.run(
                fixture.tensor("\(name).init_noise"), eta: arguments.number("eta", in: 0...1, default: 0),
                stepNoise: noise, methods
            ).states
            try report.compare("\(name).latents", states, .absolute(1e-3))
            let shape = try fixture.shape("\(name).init_noise")
            let latents = try Tensor(Array(states.suffix(shape.count)), shape)
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
            let mel = try autoencoder.decode(latents, run)
            let frames = try mel.reshaped(Shape(mel.shape[0], mel.shape[2], mel.shape[3]))
            let wave = try voice(frames, run)
            try report.compare("\(name).mel", mel, .absolute(1e-3))
            let recorded = try fixture.shape("\(name).waveform")
            let all = wave.array
            let cut = (0..<recorded[0]).flatMap { all[$0 * wave.shape[1]..<$0 * wave.shape[1] + recorded[1]] }
            try report.compare("\(name).waveform", cut, .absolute(2e-4))
        }
        for suffix in ["clap_ids", "clap_mask", "t5_ids", "t5_mask", "clap_features"] {
            for key in fixture.keys("") where key.hasSuffix(suffix) {
                report.leaves(key, because: "of the text side, which is not run here")
            }
        }
    }

    private static func conditioning(
        _ name: String, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws -> Conditioning {
        report.uses("\(name).class_labels", "\(name).prompt_embeds", "\(name).attention_mask")
        report.uses("\(name).generated_prompt_embeds")
        guard !fixture.has("\(name).class_labels") else {
            return try Conditioning(pooled: fixture.tensor("\(name).class_labels"))
        }
        var conditioning = Conditioning(states: try fixture.tensor("\(name).generated_prompt_embeds"))
        conditioning.secondStates = try fixture.tensor("\(name).prompt_embeds")
        conditioning.secondMask = try fixture.times("\(name).attention_mask")
        return conditioning
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor

/// A HiFi-GAN vocoder as a model of its own: log-mel spectrograms to waveforms.
struct VocoderFamily: ModelFamily {
    static let name = "speecht5_hifigan"
    static let forwardNames = (inputs: ["mel"], outputs: ["waveform"])

    static let rules = VocoderConfiguration.rules

    private let vocoder: Vocoder

    static func recognises(_ config: JSONObject) -> Bool {
        config.isOf(type: name, classes: ["SpeechT5HifiGan"])
            || (config.has("upsample_rates") && config.has("resblock_kernel_sizes"))
    }

    init(_ opened: Opened) throws(DiffError) {
        vocoder = try Vocoder(VocoderConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [vocoder.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(vocoder) }

    var description: [String: JSON] {
        let c = vocoder.configuration
        return [
            "input": .object(["mel": .array([.integer(c.bins)])]), "sampling_rate": .integer(c.samplingRate),
            "samples_per_frame": .integer(c.factor),
        ]
    }

    /// `mel` is [n, frames, bins], `waveform` [n, samples].
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        for name in wanted.each where name != "waveform" {
            throw DiffError(.invalidArgument, "no output \"\(name)\"; a vocoder has waveform")
        }
        return ["waveform": try vocoder(inputs.tensor("mel"), run)]
    }
}

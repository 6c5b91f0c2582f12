import DiffCheckpoint
import DiffModels
import DiffTensor

/// The parts of a pipeline of sounds that are no text encoders.
struct AudioParts {
    let network: UNet
    let autoencoder: Autoencoder
    let vocoder: Vocoder
    let solver: any ImageSolver
    let rates: AudioLength.Rates
    /// Steps of the latents along the axis of frequencies.
    let bands: Int

    /// Opens them; adds their elements to `elements`. Throws `incompatible` when they do not fit each other, and what opening them throws.
    init(_ kind: AudioKind, _ parts: StableDiffusionParts, _ elements: inout Int) throws(DiffError) {
        let unet = try parts.required("unet", UNetConfiguration.rules)
        var configuration = try UNetConfiguration(unet.config)
        if case .channels(let each) = parts.opened.options.settings.heads {
            try configuration.divideHeads(channelsPerHead: each)
        }
        network = try UNet(configuration, unet.weights)
        let vae = try parts.required("vae", AutoencoderConfiguration.rules)
        autoencoder = try Autoencoder(AutoencoderConfiguration(vae.config), vae.weights)
        let last = try parts.required("vocoder", VocoderConfiguration.rules)
        vocoder = try Vocoder(VocoderConfiguration(last.config), last.weights)
        for part in [unet, vae, last].each { elements = Checked.sum(elements, part.parameters) }
        solver = try Self.solver(parts)
        let (c, factor) = (vocoder.configuration, autoencoder.factor)
        guard network.channels == autoencoder.latentChannels, network.predictedChannels == network.channels,
            autoencoder.pictureChannels == 1
        else {
            throw DiffError(
                .incompatible,
                "the network makes latents of \(network.predictedChannels) channels, the autoencoder spectrograms of "
                    + "\(autoencoder.pictureChannels) channels out of \(autoencoder.latentChannels): take all parts from one checkpoint"
            )
        }
        guard factor > 0, c.bins % factor == 0, let two = c.samples(frames: 2), let one = c.samples(frames: 1),
            two > one
        else {
            throw DiffError(
                .incompatible,
                "the vocoder reads spectrograms of \(c.bins) bins, which latents of \(factor) bins each do not make: take all parts from one checkpoint"
            )
        }
        bands = c.bins / factor
        rates = AudioLength.Rates(sampleRate: c.samplingRate, hop: two &- one, factor: factor)
        guard rates.least <= AudioLength.most else {
            throw DiffError(
                .incompatible, "the vocoder makes \(rates.least) seconds of one latent; at most \(AudioLength.most)")
        }
        try Self.check(kind, network)
    }

    /// Throws `incompatible` when the network is not told what the kind of pipeline tells it.
    private static func check(_ kind: AudioKind, _ network: UNet) throws(DiffError) {
        let isFirst = network.textWidth == 0 && network.pooledWidth != nil
        guard isFirst == (kind == .audioldm) else {
            throw DiffError(
                .incompatible,
                "the unet \(isFirst ? "is told one vector, as AudioLDM's" : "reads texts, as AudioLDM 2's"), and model_index.json is that of \(kind.rawValue)"
            )
        }
    }

    private static func solver(_ parts: StableDiffusionParts) throws(DiffError) -> any ImageSolver {
        let opened = parts.opened
        let file: JSONObject
        if let found = try parts.scheduler() {
            file = found
        } else {
            file = try JSONObject(AudioKind.scheduler, source: "scheduler")
            opened.ledger.assume(
                "there is no scheduler/scheduler_config.json: sampling is as the published models of this kind have it")
        }
        let entered = try opened.entered(file, as: file.source, SchedulerRules.file)
        return SchedulerSolver(scheduler: try SchedulerSettings(stableDiffusion: entered))
    }
}

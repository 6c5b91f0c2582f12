import DiffTensor

/// The check of one family of fixtures.
struct GoldenCheck: Sendable {
    /// Fixture names begin with this; the longest that fits decides.
    let prefix: String
    let run: @Sendable (GoldenFixture, inout GoldenReport) throws -> Void

    /// All families. A new one is added here, with a file of its own.
    static let all = [
        GoldenCheck(prefix: "asyncdiff-sd3", run: GoldenMMDiT.check),
        GoldenCheck(prefix: "asyncdiff-sd15", run: GoldenUNetSteps.asyncDiff),
        GoldenCheck(prefix: "asyncdiff-sd21", run: GoldenUNetSteps.asyncDiff),
        GoldenCheck(prefix: "asyncdiff-sdxl", run: GoldenUNetSteps.asyncDiff),
        GoldenCheck(prefix: "audioldm-e2e", run: GoldenAudioPipelines.check),
        GoldenCheck(prefix: "audioldm2-e2e", run: GoldenAudioPipelines.check),
        GoldenCheck(prefix: "audioldm2_ddim", run: GoldenAudioSteps.ddim),
        GoldenCheck(prefix: "audioldm2_text", run: GoldenAudioText.check),
        GoldenCheck(prefix: "audioldm2_unet", run: GoldenAudioUNet.check),
        GoldenCheck(prefix: "audioldm2_vae", run: GoldenMel.check),
        GoldenCheck(prefix: "audioldm2_vocoder", run: GoldenVocoder.check),
        GoldenCheck(prefix: "code-collab", run: GoldenCollaboration.check),
        GoldenCheck(prefix: "code-var", run: GoldenVAR.check),
        GoldenCheck(prefix: "code-vqvae", run: GoldenVQVAE.check),
        GoldenCheck(prefix: "dkv", run: GoldenMasked.check),
        GoldenCheck(prefix: "l2c_dit", run: GoldenDiT.check),
        GoldenCheck(prefix: "l2c_dit_diffusers", run: GoldenDiTDiffusers.check),
        GoldenCheck(prefix: "l2c_dit_eps", run: GoldenDiTEps.check),
        GoldenCheck(prefix: "l2c_uvit", run: GoldenUViT.check),
        GoldenCheck(prefix: "l2c_uvit_eps", run: GoldenUViTEps.check),
        GoldenCheck(prefix: "litefocus_attn", run: GoldenLiteFocus.check),
        GoldenCheck(prefix: "mar", run: GoldenMAR.check),
        GoldenCheck(prefix: "mar_vae_decoder", run: GoldenMARAutoencoder.decoder),
        GoldenCheck(prefix: "mar_vae_encoder", run: GoldenMARAutoencoder.encoder),
        GoldenCheck(prefix: "sd-clip", run: GoldenCLIPText.check),
        GoldenCheck(prefix: "sd-e2e", run: GoldenPipelines.single),
        GoldenCheck(prefix: "sd-sampling", run: GoldenUNetSteps.sampling),
        GoldenCheck(prefix: "sd-schedulers", run: GoldenSchedulers.check),
        GoldenCheck(prefix: "sd-tokenizer", run: GoldenCLIPTokenizer.check),
        GoldenCheck(prefix: "sd-unet", run: GoldenUNet.check),
        GoldenCheck(prefix: "sd-vae", run: GoldenAutoencoder.check),
        GoldenCheck(prefix: "sd3-e2e", run: GoldenPipelines.sd3),
        GoldenCheck(prefix: "sdxl-e2e", run: GoldenPipelines.sdxl),
        GoldenCheck(prefix: "sit", run: GoldenSiT.check),
        GoldenCheck(prefix: "text-clap", run: GoldenCLAP.check),
        GoldenCheck(prefix: "text-t5", run: GoldenT5.check),
        GoldenCheck(prefix: "text-tokenizer-roberta", run: GoldenRoberta.check),
        GoldenCheck(prefix: "text-tokenizer-unigram", run: GoldenUnigram.check),
        GoldenCheck(prefix: "tinyfusion_gates", run: GoldenTinyFusionGates.check),
        GoldenCheck(prefix: "tinyfusion_kd", run: GoldenTinyFusionRecovery.check),
        GoldenCheck(prefix: "tinyfusion_prune", run: GoldenTinyFusionPrune.check),
        GoldenCheck(prefix: "tinyfusion_train", run: GoldenTinyFusionTraining.check),
    ]

    static func named(_ name: String) -> GoldenCheck? {
        all.filter { name.hasPrefix($0.prefix) }.max { $0.prefix.utf8.count < $1.prefix.utf8.count }
    }
}

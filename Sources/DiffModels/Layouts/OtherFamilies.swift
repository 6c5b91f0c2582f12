import DiffCheckpoint
import DiffTensor

/// Files that look like Stable Diffusion's and are something else: each is refused by its name.
enum OtherFamilies {
    private static let remedy =
        "Stable Diffusion 1, 2, XL and 3 are read, with 4 input channels, or 9 for in-painting: take a release of one of these"

    /// Names that only tensors of such files have, and what they are.
    private static let marks = [
        ("control_model.", "a ControlNet"), ("controlnet_cond_embedding.", "a ControlNet"),
        ("depth_model.", "Stable Diffusion 2's depth model"), ("edm_mean", "Playground 2.5"),
        ("double_blocks.", "FLUX or HunyuanVideo"), ("model.diffusion_model.double_blocks.", "FLUX or HunyuanVideo"),
        ("double_layers.", "AuraFlow"), ("model.diffusion_model.double_layers.", "AuraFlow"),
        ("clip_txt_mapper.", "Stable Cascade"), ("model.diffusion_model.clip_txt_mapper.", "Stable Cascade"),
        ("model.diffusion_model.cap_embedder.", "Lumina or Z-Image"),
        ("model.diffusion_model.patchify_proj.", "LTX-Video"), ("model.diffusion_model.head.modulation", "Wan"),
    ]

    private static func refusal(_ table: TensorTable, _ what: String) -> DiffError {
        DiffError(.unsupported, "\(table.path): \(what), which is not sampled here; \(remedy)")
    }

    /// Throws `unsupported` for files that their names give away.
    static func refuse(_ table: TensorTable) throws(DiffError) {
        if table.has("conditioner.embedders.0.model.token_embedding.weight") {
            throw refusal(table, "the refiner of Stable Diffusion XL")
        }
        for name in table.names.each {
            for (mark, what) in marks.each where name.hasPrefix(mark) { throw refusal(table, what) }
            if name.holds(".time_stack.") || name.holds(".motion_modules.") {
                throw refusal(table, "a model of videos")
            }
        }
    }

    /// Throws `unsupported` for U-Nets that are told other things.
    static func refuse(_ network: OriginalUNet, in table: TensorTable) throws(DiffError) {
        func has(_ name: String) -> Bool { table.has(network.prefix + name) }
        if has("label_emb.weight") { throw refusal(table, "the upscaler of Stable Diffusion") }
        if network.addedWidth != nil, table.has("cond_stage_model.model.token_embedding.weight") {
            throw refusal(table, "Stable Diffusion 2 unCLIP")
        }
        if network.contextWidth == 1280, network.addedWidth == 2560 {
            throw refusal(table, "the refiner of Stable Diffusion XL")
        }
        switch network.inChannels {
        case 4, 9: return
        case 5: throw refusal(table, "Stable Diffusion 2's depth model")
        case 7: throw refusal(table, "the upscaler of Stable Diffusion")
        case 8: throw refusal(table, "InstructPix2Pix or another model that edits a picture (8 input channels)")
        default: throw refusal(table, "a network of \(network.inChannels) input channels")
        }
    }
}

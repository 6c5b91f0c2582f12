import DiffCheckpoint
import DiffTensor

/// What the name of a tensor in a LoRA file says: part of the pipeline, module, and which factor it is.
///
/// Read are the names of diffusers (new and old), of PEFT and of kohya's scripts, whose module names are those of diffusers or of the
/// original layout, with dots or with underscores in their place.
struct LoRAName: Equatable {
    enum Role: Sendable { case up, down, middle, alpha }
    /// The networks of a pipeline that a LoRA may change.
    enum Part: String, Sendable, CaseIterable {
        case denoiser
        case textEncoder = "text_encoder"
        case textEncoder2 = "text_encoder_2"
        case textEncoder3 = "text_encoder_3"
    }

    let part: Part
    /// Module with underscores in place of dots: kohya's names have lost which is which.
    let module: String
    let role: Role

    private static let roles: [(String, Role)] = [
        (".lora_down.weight", .down), (".lora_up.weight", .up), (".lora_mid.weight", .middle),
        (".lora.down.weight", .down), (".lora.up.weight", .up), (".lora_linear_layer.down.weight", .down),
        (".lora_linear_layer.up.weight", .up), ("_lora.down.weight", .down), ("_lora.up.weight", .up),
        (".lora_A.weight", .down), (".lora_B.weight", .up), (".alpha", .alpha),
    ]
    /// The names of adapters that PEFT may put before the ending.
    private static let adapters = [(".lora_A.", Role.down), (".lora_B.", Role.up)]

    private static let parts: [(String, Part)] = [
        ("unet.", .denoiser), ("transformer.", .denoiser), ("model.diffusion_model.", .denoiser),
        ("diffusion_model.", .denoiser), ("lora_unet_", .denoiser), ("lora_transformer_", .denoiser),
        ("text_encoder_3.", .textEncoder3), ("text_encoder_2.", .textEncoder2), ("text_encoder.", .textEncoder),
        ("lora_te3_", .textEncoder3), ("lora_te2_", .textEncoder2), ("lora_te1_", .textEncoder),
        ("lora_te_", .textEncoder), ("text_model.", .textEncoder),
    ]

    /// What files hold that is not read, by a part of their names.
    private static let refused = [
        (".dora_scale", "DoRA, whose magnitudes depend on the weights"),
        (".lora_magnitude_vector", "DoRA, whose magnitudes depend on the weights"),
        (".hada_", "LoHa (Hadamard products)"), (".lokr_", "LoKr (Kronecker products)"), (".oft_", "OFT (rotations)"),
        (".boft_", "OFT (rotations)"), (".diff", "whole differences of tensors"), (".w_norm", "changes of norms"),
        (".b_norm", "changes of norms"), (".lora_A.bias", "biases"), (".lora_B.bias", "biases"),
        (".lora_up.bias", "biases"), (".on_input", "IA3"), ("bundle_emb.", "embeddings of words"), (".glora_", "GLoRA"),
    ]

    /// Why a file with a tensor of this name cannot be merged; nil when nothing is against it.
    static func refusal(_ name: String) -> String? { refused.each.first { name.holds($0.0) }?.1 }

    /// Nil for a name that no factor and no alpha has.
    init?(_ name: String) {
        guard let (stem, role) = Self.role(of: name), !stem.isEmpty else { return nil }
        self.role = role
        let whole = stem.without(prefix: "base_model.model.") ?? stem
        var (part, rest) = (Part.denoiser, whole)
        for (prefix, owner) in Self.parts.each {
            guard let after = whole.without(prefix: prefix) else { continue }
            // Transformers' names keep what they begin with.
            (part, rest) = (owner, prefix == "text_model." ? whole : after)
            break
        }
        self.part = part
        module = Self.module(rest, isOld: name.holds("_lora."))
        guard !module.isEmpty else { return nil }
    }

    private static func role(of name: String) -> (stem: String, role: Role)? {
        for (ending, role) in roles.each {
            if let stem = name.without(suffix: ending) { return (stem, role) }
        }
        guard name.without(suffix: ".weight") != nil else { return nil }
        for (start, rest) in name.splits.each {
            for (mark, role) in adapters.each where rest.without(prefix: mark) != nil { return (start, role) }
        }
        return nil
    }

    /// Names of diffusers' attention processors, from before there was PEFT.
    private static func module(_ name: String, isOld: Bool) -> String {
        var components: [String] = []
        for component in name.components.each where component != "processor" { components.append(component) }
        let isText = components.each.contains("self_attn")
        var module = ""
        for (position, component) in components.numbered {
            let isLast = position == components.count &- 1
            module += position == 0 ? "" : "_"
            module += isOld && isLast ? current(component, isText: isText) : component
        }
        return module
    }

    /// What an old name of a projection is now.
    private static func current(_ name: String, isText: Bool) -> String {
        switch name {
        case "to_q" where isText: "q_proj"
        case "to_k" where isText: "k_proj"
        case "to_v" where isText: "v_proj"
        case "to_out": isText ? "out_proj" : "to_out_0"
        default: name
        }
    }

    /// `name` with underscores for dots.
    static func underscored(_ name: String) -> String {
        String(decoding: Array(name.utf8).each.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    }
}

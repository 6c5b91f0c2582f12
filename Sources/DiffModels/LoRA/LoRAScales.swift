import DiffCheckpoint
import DiffTensor

/// What a LoRA's products are multiplied with: alpha / rank, where alpha is in the file layer by layer, in its metadata as diffusers
/// writes them, or in PEFT's `adapter_config.json`; without any it is the rank.
struct LoRAScales {
    private struct Setting {
        var alpha: Double?
        /// By the module with underscores.
        var patterns: [String: Double] = [:]
        /// alpha / √rank in place of alpha / rank.
        var isRankStabilised = false
    }

    private var settings: [String: Setting] = [:]

    /// Key of the metadata in which diffusers keeps the settings of all parts.
    private static let metadataKey = "lora_adapter_metadata"

    /// Throws `format` for settings that cannot be read, `unsupported` for DoRA.
    init(_ table: TensorTable, _ adapter: JSON?) throws(DiffError) {
        if let text = table.metadata[Self.metadataKey] {
            let object = try JSONObject(
                JSON(parsing: text, source: "\(table.path): \(Self.metadataKey)"), source: table.path)
            for (prefix, part) in Self.prefixes.each {
                var members: [String: JSON] = [:]
                for key in object.keys.each {
                    guard let name = key.without(prefix: prefix), let value = object.value(key) else { continue }
                    members.put(value, for: name)
                }
                if !members.isEmpty { try add(part, .object(members), table.path) }
            }
        }
        if let adapter { try add(.denoiser, adapter, "\(table.path): adapter_config.json") }
    }

    private static let prefixes: [(String, LoRAName.Part)] = [
        ("unet.", .denoiser), ("transformer.", .denoiser), ("text_encoder.", .textEncoder),
        ("text_encoder_2.", .textEncoder2), ("text_encoder_3.", .textEncoder3),
    ]

    private mutating func add(_ part: LoRAName.Part, _ json: JSON, _ source: String) throws(DiffError) {
        let object = try JSONObject(json, source: source)
        guard try !object.bool("use_dora", default: false) else {
            throw DiffError(.unsupported, "\(source): use_dora: DoRA is not merged here; LoRA and LoCon files are")
        }
        var setting = Setting()
        setting.alpha = try object.optionalNumber("lora_alpha", in: -1e6...1e6)
        setting.isRankStabilised = try object.bool("use_rslora", default: false)
        if case .object(let patterns)? = object.value("alpha_pattern") {
            let inner = try JSONObject(.object(patterns), source: source, path: "alpha_pattern")
            for key in inner.keys.each {
                setting.patterns.put(try inner.number(key, in: -1e6...1e6), for: LoRAName.underscored(key))
            }
        }
        settings.put(setting, for: part.rawValue)
    }

    /// For the layer `module` of `rank`, whose own `alpha` the file may have.
    func scale(_ part: LoRAName.Part, _ module: String, rank: Int, alpha: Double?) -> Double {
        let setting = settings[part.rawValue]
        let whole = alpha ?? setting.flatMap { Self.pattern($0, module) ?? $0.alpha } ?? Double(rank)
        let divisor = alpha == nil && setting?.isRankStabilised == true ? Double(rank).squareRoot() : Double(rank)
        return whole / divisor
    }

    /// A pattern is a module's whole name, or its last components.
    private static func pattern(_ setting: Setting, _ module: String) -> Double? {
        if let exact = setting.patterns[module] { return exact }
        for key in setting.patterns.keys.sorted(by: JSON.precedes).each where module.hasSuffix("_\(key)") {
            return setting.patterns[key]
        }
        return nil
    }
}

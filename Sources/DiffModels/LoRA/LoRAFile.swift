import DiffCheckpoint
public import DiffTensor

/// A file of low-rank updates (LoRA, LoCon) for a pipeline's networks, opened and checked, nothing loaded.
///
/// Names of diffusers, PEFT and kohya's scripts are read, for linear layers and convolutions. DoRA, LoHa, LoKr and what else is kept in
/// such files is refused by its name. Thread-safe.
public final class LoRAFile: Sendable {
    /// A changed module: its factors' names in the table, and alpha / rank.
    struct Layer: Sendable {
        let part: LoRAName.Part
        /// With underscores for dots.
        let module: String
        var up: String?
        var down: String?
        var middle: String?
        var scale = 1.0
        fileprivate var alpha: Double?
    }

    /// Path of the file, for messages.
    public let path: String
    let table: TensorTable
    /// Sorted by part and module.
    let layers: [Layer]

    /// Opens the file `path`, or the folder of one (`pytorch_lora_weights.safetensors`, `adapter_model.safetensors` with
    /// `adapter_config.json`).
    ///
    /// Throws `io`, `format` for a layer that lacks a factor, `unsupported` for other methods and formats.
    public static func open(_ path: String, followingLinks: Bool = false) throws(DiffError) -> LoRAFile {
        guard try Directory.isDirectory(path) else { return try LoRAFile(TensorTable(FileBytes(path: path)), nil) }
        let directory = try Directory(path: path, followingLinks: followingLinks)
        let settings = try directory.json("adapter_config.json")
        for name in ["pytorch_lora_weights.safetensors", "adapter_model.safetensors"] where try directory.contains(name)
        {
            return try LoRAFile(TensorTable(directory.open(name)), settings)
        }
        let others = try directory.names(endingIn: ".safetensors")
        guard let only = others.first, others.count == 1 else {
            throw DiffError(
                .io,
                "\(path): no LoRA file; looked for pytorch_lora_weights.safetensors, adapter_model.safetensors, or a single "
                    + "*.safetensors: name the file itself")
        }
        return try LoRAFile(TensorTable(directory.open(only)), settings)
    }

    /// The layers in `table`, whose scales `settings` (`adapter_config.json`) may give.
    init(_ table: TensorTable, _ settings: JSON?) throws(DiffError) {
        (path, self.table) = (table.path, table)
        var found: [String: Layer] = [:]
        var unknown: [String] = []
        for name in table.names.each {
            if let method = LoRAName.refusal(name) {
                throw DiffError(
                    .unsupported,
                    "\(table.path): tensor \"\(name.prefix(200))\": \(method): not merged here; LoRA and LoCon files are"
                )
            }
            guard let parsed = LoRAName(name) else {
                unknown.append(name)
                continue
            }
            let key = "\(parsed.part.rawValue) \(parsed.module)"
            var layer = found[key] ?? Layer(part: parsed.part, module: parsed.module)
            switch parsed.role {
            case .up: layer.up = name
            case .down: layer.down = name
            case .middle: layer.middle = name
            case .alpha: layer.alpha = try Self.alpha(table, name)
            }
            found.put(layer, for: key)
        }
        guard unknown.isEmpty else {
            throw DiffError(
                .unsupported,
                "\(table.path): no LoRA that is read here: tensors of other names: \(Self.list(unknown))")
        }
        guard !found.isEmpty else { throw DiffError(.format, "\(table.path): no tensors of a LoRA") }
        let scales = try LoRAScales(table, settings)
        var layers: [Layer] = []
        for key in found.keys.sorted(by: JSON.precedes).each {
            guard var layer = found[key] else { continue }
            guard layer.up != nil, let down = layer.down, let shape = table.info(down)?.shape, shape[0] > 0 else {
                throw DiffError(
                    .format, "\(table.path): \(layer.part.rawValue) \(layer.module): a layer without both factors")
            }
            layer.scale = scales.scale(layer.part, layer.module, rank: shape[0], alpha: layer.alpha)
            layers.append(layer)
        }
        self.layers = layers
    }

    private static func alpha(_ table: TensorTable, _ name: String) throws(DiffError) -> Double {
        guard table.info(name)?.shape.count == 1, let alpha = try table.doubles(name).first, alpha.isFinite else {
            throw DiffError(.format, "\(table.path): tensor \"\(name.prefix(200))\": expected one finite number")
        }
        return alpha
    }

    /// The first few of `names` and how many more there are.
    static func list(_ names: [String]) -> String {
        var shown: [String] = []
        for name in names.each where shown.count < 8 { shown.append(String(name.prefix(100))) }
        let rest = names.count &- shown.count
        return shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    /// Number of changed modules.
    public var layerCount: Int { layers.count }

    /// The networks that it changes: `denoiser`, `text_encoder`, `text_encoder_2`, `text_encoder_3`.
    public var partNames: [String] {
        LoRAName.Part.allCases.each.filter { part in layers.each.contains { $0.part == part } }.each.map { $0.rawValue }
    }

    /// Which models it looks made for; nil when nothing tells.
    public var family: String? {
        var width: Int?
        for layer in layers.each where layer.part == .denoiser {
            let module = layer.module
            if module.holds("double_blocks") || module.holds("single_transformer_blocks") { return "FLUX" }
            if module.holds("joint_blocks") || module.holds("_add_k_proj") { return "Stable Diffusion 3" }
            if module.holds("attn2_to_k"), let down = layer.down { width = table.info(down)?.shape[1] }
        }
        switch width {
        case 768: return "Stable Diffusion 1"
        case 1024: return "Stable Diffusion 2"
        case 2048: return "Stable Diffusion XL"
        default: return layers.each.contains { $0.part == .textEncoder2 } ? "Stable Diffusion XL or 3" : nil
        }
    }
}

import DiffCheckpoint
import DiffTensor

/// Puts the parts of a single file together.
struct SingleFileBuilder {
    private typealias Kind = StableDiffusionFile.Kind

    private let table: TensorTable
    private let kind: Kind
    private let facts: SchedulerFacts
    private var parts: [String: SingleFilePart] = [:]
    private var paddings: [String: String] = [:]
    private var ignored: [String] = []
    /// What parts' tensors begin with; all other tensors are left out.
    private var prefixes: [String] = []

    /// The pad token of OpenAI's CLIP, and of OpenCLIP (token 0).
    private static let (endOfText, zero) = ("<|endoftext|>", "!")

    // MARK: Kinds

    /// A file around Stable Diffusion 3's transformer.
    init(_ table: TensorTable, _ transformer: OriginalTransformer) throws(DiffError) {
        (self.table, kind) = (table, .sd3)
        facts = SchedulerFacts(kind: .sd3)
        let tensors = try table.view(of: transformer.prefix, transformer.pairs)
        parts.put(SingleFilePart(config: transformer.config, tensors: tensors), for: "transformer")
        prefixes.append(transformer.prefix)
        try addAutoencoder(.sd3)
        let clip = OriginalTextEncoders.Use(activation: "quick_gelu", projects: true, projectsByIdentity: true)
        let open = OriginalTextEncoders.Use(activation: "gelu", projects: true)
        _ = try addEncoder(
            "text_encoder", "text_encoders.clip_l.transformer.", padding: Self.endOfText
        ) { (prefix) throws(DiffError) in try OriginalTextEncoders.clip(table, prefix, clip) }
        _ = try addEncoder(
            "text_encoder_2", "text_encoders.clip_g.transformer.", padding: Self.zero
        ) { (prefix) throws(DiffError) in try OriginalTextEncoders.clip(table, prefix, open) }
        _ = try addEncoder(
            "text_encoder_3", "text_encoders.t5xxl.transformer.", padding: nil
        ) { (prefix) throws(DiffError) in try OriginalTextEncoders.t5(table, prefix) }
    }

    /// A file around the U-Net of Stable Diffusion 1, 2 or XL.
    init(_ table: TensorTable, _ network: OriginalUNet) throws(DiffError) {
        self.table = table
        let isOpen = table.has("cond_stage_model.model.token_embedding.weight")
        let isClip = table.has("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight")
        if network.addedWidth != nil {
            kind = .sdxl
        } else if isOpen || network.contextWidth == 1024 || (!isClip && network.hasLinearProjections) {
            kind = .sd2
        } else {
            kind = .sd1
        }
        var facts = SchedulerFacts(kind: kind)
        facts.isInpainting = network.inChannels == 9
        facts.isConsistent = network.guidanceWidth != nil
        self.facts = facts
        prefixes.append(network.prefix)
        try addAutoencoder(kind == .sdxl ? .xl : .latentDiffusion)
        let pooled = try addEncoders()
        let size = kind == .sdxl ? 128 : facts.predictsVelocity(table) ? 96 : 64
        let tensors = try table.view(of: network.prefix, network.pairs)
        let config = network.config(sampleSize: size, pooledWidth: pooled)
        parts.put(SingleFilePart(config: config, tensors: tensors), for: "unet")
    }

    /// A file of an autoencoder alone, under a prefix or without one; nil when it is none.
    init?(autoencoderOf table: TensorTable) throws(DiffError) {
        (self.table, kind, facts) = (table, .autoencoder, SchedulerFacts(kind: .autoencoder))
        for prefix in (OriginalAutoencoder.prefixes + [""]).each where parts["vae"] == nil {
            guard let found = try OriginalAutoencoder.part(table, prefix, nil) else { continue }
            parts.put(found.part, for: "vae")
            ignored = found.ignored
            prefixes.append(prefix)
        }
        guard !parts.isEmpty else { return nil }
    }

    // MARK: Parts

    private mutating func addAutoencoder(_ scaling: OriginalAutoencoder.Scaling) throws(DiffError) {
        for prefix in OriginalAutoencoder.prefixes.each where parts["vae"] == nil {
            guard let found = try OriginalAutoencoder.part(table, prefix, scaling) else { continue }
            parts.put(found.part, for: "vae")
            for name in found.ignored.each { ignored.append(name) }
            prefixes.append(prefix)
        }
    }

    /// The text encoders of Stable Diffusion 1, 2 and XL; gives the width of XL's pooled vector, if it is there.
    private mutating func addEncoders() throws(DiffError) -> Int? {
        let table = table
        let clip = OriginalTextEncoders.Use(activation: "quick_gelu", projects: false)
        if kind == .sdxl {
            _ = try addEncoder(
                "text_encoder", "conditioner.embedders.0.transformer.", padding: Self.endOfText
            ) { (prefix) throws(DiffError) in try OriginalTextEncoders.clip(table, prefix, clip) }
            let open = OriginalTextEncoders.Use(activation: "gelu", projects: true)
            return try addEncoder(
                "text_encoder_2", "conditioner.embedders.1.model.", padding: Self.zero
            ) { (prefix) throws(DiffError) in try OriginalTextEncoders.openClip(table, prefix, open) }
        }
        _ = try addEncoder(
            "text_encoder", "cond_stage_model.transformer.", padding: Self.endOfText
        ) { (prefix) throws(DiffError) in try OriginalTextEncoders.clip(table, prefix, clip) }
        guard parts["text_encoder"] == nil else { return nil }
        let open = OriginalTextEncoders.Use(activation: "gelu", projects: false, dropsLast: true)
        return try addEncoder(
            "text_encoder", "cond_stage_model.model.", padding: Self.zero
        ) { (prefix) throws(DiffError) in try OriginalTextEncoders.openClip(table, prefix, open) }
    }

    private mutating func addEncoder(
        _ name: String, _ prefix: String, padding: String?,
        _ find: (String) throws(DiffError) -> OriginalTextEncoders.Found?
    ) throws(DiffError) -> Int? {
        guard let found = try find(prefix) else { return nil }
        parts.put(found.part, for: name)
        if let padding { paddings.put(padding, for: name) }
        for name in found.ignored.each { ignored.append(name) }
        prefixes.append(prefix)
        return found.pooledWidth
    }

    // MARK: The file

    func file(_ options: SingleFile.Options) throws(DiffError) -> StableDiffusionFile {
        var others = ignored
        for name in table.names.each where !prefixes.each.contains(where: { name.hasPrefix($0) }) {
            others.append(name)
        }
        let scheduler = try facts.scheduler(table, options.predictionType)
        let (changed, schedule) = try SingleFileConfig.applied(options.config, to: parts, scheduler)
        return StableDiffusionFile(
            kind, changed, scheduler: schedule, pipeline: facts.pipeline(parts.keys.sorted(by: JSON.precedes)),
            ignored: others, paddings: paddings)
    }
}

/// Members that a caller gives in place of those read off a file.
enum SingleFileConfig {
    static func applied(
        _ config: JSON?, to parts: [String: SingleFilePart], _ scheduler: JSON?
    ) throws(DiffError) -> ([String: SingleFilePart], JSON?) {
        guard let config else { return (parts, scheduler) }
        let object = try JSONObject(config, source: "options.config")
        var (changed, schedule) = (parts, scheduler)
        for name in object.keys.each {
            guard let value = object.value(name) else { continue }
            _ = try JSONObject(value, source: "options.config", path: name)
            if name == "scheduler", let scheduler {
                schedule = scheduler.merging(value)
            } else if let part = parts[name] {
                changed.put(SingleFilePart(config: part.config.merging(value), tensors: part.tensors), for: name)
            } else {
                throw object.error(
                    name,
                    "a single file has no such part; it has \(parts.keys.sorted(by: JSON.precedes).joined(separator: ", "))"
                        + (scheduler == nil ? "" : ", scheduler"))
            }
        }
        return (changed, schedule)
    }
}

public import DiffCheckpoint
public import DiffTensor

extension LoRAFile {
    /// The updates of one network of a pipeline, times `scale`; without any when the file leaves it alone.
    ///
    /// - Parameters:
    ///   - part: `unet` or `transformer`, `text_encoder`, `text_encoder_2` or `text_encoder_3`.
    ///   - config: its configuration as diffusers has it, for names of the original layout.
    ///   - tensors: its tensors under diffusers' and transformers' names.
    ///   - scale: what the updates are multiplied by; finite, of at most 1e6.
    ///
    /// Throws `incompatible` listing layers that fit nothing in the network, `shape` for sizes that do not fit, `invalidArgument` for a
    /// part or a scale that is none.
    public func updates(
        of part: String, config: JSON?, tensors: TensorTable, scale: Double
    ) throws(DiffError) -> WeightUpdates {
        let isDenoiser = part == "unet" || part == "transformer"
        guard let part = isDenoiser ? .denoiser : LoRAName.Part(rawValue: part), scale.isFinite, scale.magnitude <= 1e6
        else {
            throw DiffError(.invalidArgument, "\(path): a LoRA of scale \(scale) for \(part.prefix(100))")
        }
        let own = layers.each.filter { $0.part == part }
        guard !own.isEmpty else { return WeightUpdates([:]) }
        let targets = LoRATargets(tensors, config.flatMap { LayoutPairs.of($0) })
        let fitting = try matched(own, targets, part)
        var sources: [String: TensorSource] = [:]
        for (number, match) in fitting.numbered {
            sources.put(TensorSource(match.layer.up ?? "", match.target.part), for: "up \(number)")
            sources.put(TensorSource(match.layer.down ?? ""), for: "down \(number)")
            if let middle = match.layer.middle { sources.put(TensorSource(middle), for: "middle \(number)") }
        }
        let factors = try table.renamed(sources)
        var updates: [String: [LowRankUpdate]] = [:]
        for (number, match) in fitting.numbered {
            let update = LowRankUpdate(
                factors, up: "up \(number)", down: "down \(number)",
                middle: match.layer.middle == nil ? nil : "middle \(number)", scale: scale * match.layer.scale,
                rows: match.target.rows)
            if let shape = tensors.info(match.target.tensor)?.shape, let misfit = update.misfit(shape) {
                throw DiffError(
                    .shape,
                    "\(path): \(match.layer.up ?? ""): \(misfit), the extents of \(tensors.sourceName(match.target.tensor)); "
                        + remedy)
            }
            var list = updates[match.target.tensor] ?? []
            list.append(update)
            updates.put(list, for: match.target.tensor)
        }
        return WeightUpdates(updates)
    }

    private typealias Match = (layer: Layer, target: LoRATargets.Target)

    /// Each layer with each tensor that it changes. Where a file has a module under names of both layouts, those of the original one
    /// are left out, as diffusers does.
    private func matched(
        _ layers: [Layer], _ targets: LoRATargets, _ part: LoRAName.Part
    ) throws(DiffError) -> [Match] {
        var (matches, unmatched): ([Match], [String]) = ([], [])
        var taken: [String: Bool] = [:]
        for layer in layers.each {
            let found = targets.of(layer.module)
            if found.isEmpty { unmatched.append(layer.module) }
            for target in found.each {
                matches.append((layer, target))
                if !target.isOriginal { taken.put(true, for: target.tensor) }
            }
        }
        guard unmatched.isEmpty else {
            throw DiffError(
                .incompatible,
                "\(path): \(unmatched.count) of its \(layers.count) layers for the \(part.rawValue) fit nothing in this model: "
                    + "\(Self.list(unmatched)); \(remedy)")
        }
        return matches.each.filter { !$0.target.isOriginal || taken[$0.target.tensor] == nil }
    }

    /// What to do about a LoRA that does not fit.
    var remedy: String {
        let made = family.map { "it looks like a LoRA for \($0)" } ?? "it was made for another model"
        return "\(made): take the one made for this model, or leave it out"
    }

    /// Throws `incompatible` when the file changes a network that a model with these parts (`unet`, `text_encoder`, ...) has not.
    public func require(_ parts: [String]) throws(DiffError) {
        for name in partNames.each {
            let isThere =
                name == LoRAName.Part.denoiser.rawValue
                ? parts.contains("unet") || parts.contains("transformer") : parts.contains(name)
            guard isThere else {
                throw DiffError(.incompatible, "\(path): it changes the \(name), which this model has not; \(remedy)")
            }
        }
    }
}

/// LoRA files that are merged into one model, each with a scale, in their order.
public struct LoRASet: Sendable {
    /// The files and what their updates are multiplied with.
    public let files: [(file: LoRAFile, scale: Double)]

    /// These files.
    public init(_ files: [(file: LoRAFile, scale: Double)]) { self.files = files }

    /// The updates of all files for one network; nil when no file changes it. Arguments and errors are those of
    /// ``LoRAFile/updates(of:config:tensors:scale:)``.
    public func updates(of part: String, config: JSON?, tensors: TensorTable) throws(DiffError) -> WeightUpdates? {
        var all = WeightUpdates([:])
        for (file, scale) in files.each {
            all = all.appending(try file.updates(of: part, config: config, tensors: tensors, scale: scale))
        }
        return all.names.isEmpty ? nil : all
    }

    /// Throws `incompatible` when a file changes a network that a model with these parts has not.
    public func require(_ parts: [String]) throws(DiffError) {
        for (file, _) in files.each { try file.require(parts) }
    }
}

extension LoRAFile {
    /// Takes the updates and their scales into `fingerprint`. Throws `io`.
    public func addFingerprint(to fingerprint: inout Fingerprint) throws(DiffError) {
        try table.addFingerprint(to: &fingerprint)
        for layer in layers.each {
            fingerprint.add(layer.module)
            fingerprint.add(layer.scale.description)
        }
    }
}

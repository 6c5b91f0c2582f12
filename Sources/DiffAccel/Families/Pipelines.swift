import DiffCheckpoint
import DiffModels
import DiffTensor

/// Checkpoints that are models as a whole and not by one of their parts: folders with a `model_index.json`, and single files that hold as
/// much.
enum Pipelines {
    /// `checkpoint` as the family that knows it sees it; nil when it is none of these.
    static func opened(
        _ checkpoint: Checkpoint, _ path: String, _ options: ModelOptions, _ budget: MemoryBudget
    ) throws(DiffError) -> Opened? {
        guard options.family == nil else { return nil }
        return try locating(path) { () throws(DiffError) in
            if let json = checkpoint.pipeline {
                guard options.config == nil else { return nil }
                let index = try JSONObject(json, source: "model_index.json")
                return try opened(checkpoint, index, nil, options, budget)
            }
            guard checkpoint.directory == nil, options.config.map(isByPart) ?? true else { return nil }
            let told = SingleFile.Options(predictionType: options.settings.prediction, config: options.config)
            guard let file = try SingleFile.recognise(checkpoint.tensors, told) else { return nil }
            if let index = file.pipeline {
                return try opened(checkpoint, JSONObject(index, source: "the file"), file, options, budget)
            }
            return try opened(checkpoint, autoencoder: file, options, budget)
        }
    }

    private static func opened(
        _ checkpoint: Checkpoint, _ index: JSONObject, _ file: StableDiffusionFile?, _ options: ModelOptions,
        _ budget: MemoryBudget
    ) throws(DiffError) -> Opened? {
        guard let family = Families.all.each.first(where: { $0.isPipeline && $0.recognises(index) }) else {
            // One network may be known without the pipeline that it is a part of.
            var hasPart = checkpoint.config != nil || file != nil
            if !hasPart { hasPart = try checkpoint.hasSubdirectory("transformer") }
            guard hasPart else { throw unknown(index) }
            return nil
        }
        let ledger = ConfigLedger()
        let config = try ledger.entered(index, as: index.source, family.rules)
        return Opened(
            checkpoint: checkpoint, family: family, architecture: config, config: config, pipeline: config,
            singleFile: file, scheduler: nil, ledger: ledger, options: options, budget: budget,
            pool: try WorkerPool(threads: Machine.processors))
    }

    private static func unknown(_ index: JSONObject) -> DiffError {
        var found = "a pipeline without a class"
        if case .string(let name)? = index.value("_class_name") { found = "\"\(name.prefix(100))\"" }
        return DiffError(
            .unsupported,
            "\(index.place(of: "_class_name")): \(found) is not supported; known are "
                + (StableDiffusionKind.pipelineNames + AudioKind.pipelineNames).joined(separator: ", ")
                + ", and pipelines of a transformer alone: open a checkpoint of one of these")
    }

    /// A single file of an autoencoder alone.
    private static func opened(
        _ checkpoint: Checkpoint, autoencoder file: StableDiffusionFile, _ options: ModelOptions,
        _ budget: MemoryBudget
    ) throws(DiffError) -> Opened? {
        guard let part = file.part("vae") else { return nil }
        let ledger = ConfigLedger()
        let found = try JSONObject(part.config, source: "the file")
        let config = try ledger.entered(found, as: found.source, AutoencoderFamily.rules)
        return Opened(
            checkpoint: checkpoint.with(part.tensors), family: AutoencoderFamily.self, architecture: config,
            config: config, pipeline: nil, singleFile: file, scheduler: nil, ledger: ledger, options: options,
            budget: budget, pool: try WorkerPool(threads: Machine.processors))
    }

    /// Whether a configuration given with a single file speaks of a pipeline's parts, each by its name; else it is that of one network.
    private static func isByPart(_ config: JSON) -> Bool {
        guard case .object(let members) = config, !members.isEmpty else { return false }
        let parts = ["unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3", "scheduler"]
        return Array(members.keys).each.allSatisfy { parts.contains($0) }
    }
}

public import DiffCheckpoint
public import DiffTensor

/// Single files of Stable Diffusion in the original layout: all parts in one table of tensors, no configuration.
public enum SingleFile {
    /// What the tensors do not tell.
    public struct Options: Sendable {
        /// What the network predicts: `epsilon`, `v_prediction` or `sample`. Nil: what the file says of itself, else v for Stable
        /// Diffusion 2 without in-painting (whose 512-pixel release predicts epsilon and cannot be told apart), else epsilon.
        public var predictionType: String?
        /// By part (`unet`, `transformer`, `vae`, `text_encoder`, `text_encoder_2`, `text_encoder_3`, `scheduler`), members that
        /// replace those read off the file: heads, groups and scalings are in no shape.
        public var config: JSON?

        /// Nothing is told.
        public init(predictionType: String? = nil, config: JSON? = nil) {
            (self.predictionType, self.config) = (predictionType, config)
        }
    }

    /// The file that `table` is; nil when it is none of these.
    ///
    /// Recognised by names and shapes alone: Stable Diffusion 1, 2 (both with in-painting), XL and 3 with or without autoencoder and
    /// text encoders, such a network alone, or an autoencoder alone. Nothing is loaded.
    ///
    /// Throws `unsupported` for relatives that are not sampled here (the refiner, unCLIP, depth and pixel-editing models, ControlNet,
    /// video), each by its name, and `format` for options that fit no part.
    public static func recognise(
        _ table: TensorTable, _ options: Options = Options()
    ) throws(DiffError) -> StableDiffusionFile? {
        try OtherFamilies.refuse(table)
        let builder: SingleFileBuilder
        if let transformer = try OriginalTransformer(table) {
            builder = try SingleFileBuilder(table, transformer)
        } else if let network = try OriginalUNet(table) {
            try OtherFamilies.refuse(network, in: table)
            builder = try SingleFileBuilder(table, network)
        } else if let alone = try SingleFileBuilder(autoencoderOf: table) {
            builder = alone
        } else {
            return nil
        }
        return try builder.file(options)
    }
}

/// A single file taken apart as a pipeline folder would be: configurations and tensors by part.
public final class StableDiffusionFile: Sendable {
    /// The families of such files.
    public enum Kind: String, Sendable, CaseIterable {
        /// Stable Diffusion 1.x.
        case sd1 = "Stable Diffusion 1"
        /// Stable Diffusion 2.x.
        case sd2 = "Stable Diffusion 2"
        /// Stable Diffusion XL.
        case sdxl = "Stable Diffusion XL"
        /// Stable Diffusion 3 and 3.5.
        case sd3 = "Stable Diffusion 3"
        /// An autoencoder alone.
        case autoencoder = "an autoencoder of Stable Diffusion"
    }

    /// The family.
    public let kind: Kind
    /// Names of the parts that are there, as folders of a pipeline are called, sorted.
    public let partNames: [String]
    /// What `scheduler/scheduler_config.json` would say; nil for an autoencoder.
    public let scheduler: JSON?
    /// What `model_index.json` would say; nil for an autoencoder.
    public let pipeline: JSON?
    /// Names of tensors that belong to no part or that nothing is computed with, sorted: averages of training, tables of the
    /// schedule, positions.
    public let ignored: [String]
    /// What CLIP's token lists are filled up with, by text encoder; those of T5 are not listed, whose tokenizer no such file holds.
    public let paddings: [String: String]
    private let parts: [String: SingleFilePart]

    init(
        _ kind: Kind, _ parts: [String: SingleFilePart], scheduler: JSON?, pipeline: JSON?, ignored: [String],
        paddings: [String: String]
    ) {
        (self.kind, self.parts, self.scheduler, self.pipeline) = (kind, parts, scheduler, pipeline)
        (self.ignored, self.paddings) = (ignored.sorted(by: JSON.precedes), paddings)
        partNames = parts.keys.sorted(by: JSON.precedes)
    }

    /// The part `unet`, `transformer`, `vae`, `text_encoder`, `text_encoder_2` or `text_encoder_3`; nil when it is not there.
    public func part(_ name: String) -> SingleFilePart? { parts[name] }

    /// ``ignored`` by what the names begin with, such as `model_ema: 688 tensors`, sorted.
    public var ignoredGroups: [String] {
        var counts: [String: Int] = [:]
        for name in ignored.each {
            let group = name.components.first ?? name
            counts.put((counts[group] ?? 0) &+ 1, for: group)
        }
        var groups: [String] = []
        for group in counts.keys.sorted(by: JSON.precedes).each {
            let count = counts[group] ?? 0
            groups.append(count == 1 ? group : "\(group): \(count) tensors")
        }
        return groups
    }
}

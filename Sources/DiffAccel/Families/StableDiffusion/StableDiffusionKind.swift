import DiffCheckpoint
import DiffModels
import DiffTensor

/// Which of the architectures a pipeline is.
enum StableDiffusionKind: String, Sendable {
    /// Stable Diffusion 1 and 2: one text encoder.
    case sd
    /// Stable Diffusion XL: two text encoders, and a network that is told sizes.
    case sdxl
    /// Stable Diffusion 3: a transformer that was trained as a flow, up to three text encoders.
    case sd3

    private static let pipelines: [(kind: StableDiffusionKind, names: [String])] = [
        (
            .sd,
            [
                "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
                "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline",
            ]
        ),
        (
            .sdxl,
            [
                "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline",
            ]
        ),
        (
            .sd3,
            [
                "StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline",
            ]
        ),
    ]

    /// The classes of diffusers that are known.
    static var pipelineNames: [String] { pipelines.flattened { $0.names } }

    /// That of a class of diffusers; nil for another one.
    init?(pipeline name: String) {
        guard let found = Self.pipelines.each.first(where: { $0.names.each.contains(name) }) else { return nil }
        self = found.kind
    }

    /// That of a checkpoint.
    init(_ parts: StableDiffusionParts) throws(DiffError) {
        let name = try parts.opened.config.optionalString("_class_name") ?? ""
        guard let kind = Self(pipeline: name) else {
            throw DiffError(
                .unsupported,
                "\(parts.opened.config.place(of: "_class_name")): \(name.prefix(100)) is not supported; known are "
                    + Self.pipelineNames.joined(separator: ", "))
        }
        self = kind
    }

    /// Whether strength spaces timesteps anew, as the pipelines of latent consistency models have it.
    static func spacesByStrength(_ index: JSONObject) -> Bool {
        guard case .string(let name)? = index.value("_class_name") else { return false }
        return name.hasPrefix("LatentConsistencyModel")
    }

    /// Whether the network was trained as a flow.
    var isFlow: Bool { self == .sd3 }

    /// Guidance where a request says nothing: that of diffusers' pipelines.
    func guidance(_ network: any ConditionedDenoiser) -> Double {
        // A network that was distilled with guidance is told it, and latent consistency models want more of it.
        if network.takesGuidance { return 8.5 }
        return switch self {
        case .sd: 7.5
        case .sdxl: 5
        case .sd3: 7
        }
    }

    /// Steps where neither a request nor a plan says any.
    func steps(_ network: any ConditionedDenoiser) -> Int {
        if network.takesGuidance { return 4 }
        return self == .sd3 ? 28 : StepsRequest.defaultSteps
    }
}

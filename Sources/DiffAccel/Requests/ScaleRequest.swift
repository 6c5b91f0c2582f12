import DiffCheckpoint
import DiffModels
import DiffTensor

/// An image, part of which is kept while the rest is drawn again: in-painting, or editing under another class.
public struct KnownPicture: Sendable {
    /// Pixels in -1 ... 1, one image for each sample, [samples, 3, H, W].
    public let image: Tensor
    /// Non-zero where the image is kept, [samples, h, w], of any size; resized by nearest neighbours.
    public let mask: Tensor

    /// Keeps `image` where `mask` is not 0.
    public init(image: Tensor, mask: Tensor) { (self.image, self.mask) = (image, mask) }
}

/// A request to a model that works scale by scale, read and in range. Lists have one value for all scales, or one for each.
struct ScaleRequest: Sendable {
    let labels: [Int]
    /// Guidance at the last scale.
    let guidance: Double
    /// Keep only this many of the most likely codes; 0: all.
    let topK: [Int]
    /// Of these keep the smallest set with cumulative probability ≥ topP; 0: all.
    let topP: Double
    /// Divides the remaining logits.
    let temperature: [Double]
    /// Whether codes are mixed instead of drawn: for looks, not for statistics.
    let moreSmooth: Bool
    let seed: UInt64
    let decode: Bool
    /// Whether events have the image that the state decodes to so far.
    let previews: Bool

    /// The form of requests to a model of `classes` classes and the null class, with the model's own settings.
    static func form(
        _ c: VARConfiguration, _ names: ClassNames, side: Int?, guidance: Double, topK: Int, topP: Double
    ) -> RequestForm {
        let options = [
            CommonOptions.labels(names, rows: c.nullClass &+ 1),
            OptionSpec(
                "guidance", .number(0...1000), default: .number(guidance),
                "Classifier-free guidance t of (1 + t) c - t u, growing from 0 at the first scale to this at the last; "
                    + "0: none."
            ),
            OptionSpec(
                "top_k", .oneOrMore(.integer(0...1_000_000)), default: .integer(topK),
                "Keep only the top_k most likely codes, 0: all; one number, or one per scale."),
            OptionSpec(
                "top_p", .number(0...1), default: .number(topP),
                "Nucleus sampling: keep the smallest set of codes with cumulative probability ≥ top_p; 0: all."),
            OptionSpec(
                "temperature",
                .oneOrMore(.number(Double(Checked.divisors.lowerBound)...Double(Checked.divisors.upperBound))),
                default: 1,
                "Divides the remaining logits; one number, or one per scale. top_k 1 takes the most probable code."
            ),
            OptionSpec(
                "more_smooth", .flag, default: false,
                "Mixes codes instead of sampling them: for looks, not for statistics."),
            CommonOptions.seed, CommonOptions.decode,
            OptionSpec(
                "previews", .flag, default: false,
                "Whether events have a preview, the image that the state decodes to so far; each costs a decoding."),
        ]
        let pixels = side.map { ", \($0), \($0)]" } ?? ", H, W]"
        return RequestForm(
            options: options,
            tensors: [
                CommonOptions.labelsTensor,
                TensorSpec(
                    "uniforms", .f32, "[n, \(c.schedule.tokens)]",
                    "A number in 0 ..< 1 for each token, scale by scale, instead of those of the seed."),
                TensorSpec(
                    "image", .f32, "[n, 3\(pixels)",
                    "An image in -1...1, part of which is kept while the rest is drawn to fit it; needs the VQ-VAE's encoder."
                ),
                TensorSpec(
                    "mask", .f32, "[n, h, w]",
                    "Non-zero where the image is kept; of any size, resized by nearest neighbour; goes with image."),
            ])
    }

    /// The request that `reader` checked, for a model of these settings.
    init(_ reader: RequestReader, _ c: VARConfiguration, _ names: ClassNames) throws(DiffError) {
        let options = reader.options
        labels = try CommonOptions.labels(reader, names, below: c.nullClass &+ 1)
        guidance = try options.get("guidance")
        topK = try Self.each(options.get("top_k"), "top_k", c.schedule.count)
        topP = try options.get("top_p")
        temperature = try Self.each(options.get("temperature"), "temperature", c.schedule.count)
        moreSmooth = try options.get("more_smooth")
        seed = try options.get("seed")
        decode = try options.get("decode")
        previews = try options.get("previews")
    }

    /// A value for each scale out of one, or one for each.
    private static func each<T>(_ values: [T], _ name: String, _ scales: Int) throws(DiffError) -> [T] {
        guard values.count > 1, values.count != scales else {
            return values.count > 1 ? values : Array(Indices(below: scales)).flattened { _ in values }
        }
        throw DiffError(.invalidArgument, "request: \(name) needs 1 value or \(scales), found \(values.count)")
    }
}

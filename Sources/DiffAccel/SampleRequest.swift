public import DiffTensor

/// One sampling request.
public struct SampleRequest: Sendable {
    /// How latents become pixels.
    public enum Tiling: Sendable, Equatable {
        /// Whole images, or tiles when the memory limit asks for them.
        case automatic
        case never
        /// Tiles of this side in latents.
        case side(Int)
    }

    /// The most samples of one request.
    public static let maxSamples = 4096
    /// The most steps of one run.
    public static let maxSteps = 1000
    /// As ``guidanceChannels``: every epsilon channel (diffusers guides all, the official DiT three).
    public static let allChannels = -1

    /// The number of sampling steps where nothing says another one.
    public static let defaultSteps = 50

    /// A name of ``Library/samplers``, or the class of diffusers that it is; nil: the model's own.
    public var sampler: String?
    /// Number of sampling steps; nil: the sum of the counts of ``spacing``, else what the plan's router was learned for, else
    /// ``defaultSteps``.
    public var steps: Int?
    /// `leading`, `trailing`, `linspace` (diffusers); of DDIM and DDPM also `even` (official respacing), `strided` ("ddimN"), or counts
    /// per section such as `10,15,25`; nil: as the model's scheduler or conventions say.
    public var spacing: String?
    /// Added to every timestep of the `leading` spacing; 0: what the model's scheduler says.
    public var stepsOffset = 0
    /// DDIM's noise, 0 (deterministic) to 1.
    public var eta = 0.0
    /// As `torch.manual_seed(seed)` on the CPU.
    public var seed: UInt64 = 0
    /// A class index for each sample.
    public var labels: [Int] = []
    /// Classifier-free guidance scale; 1 or less: none; nil: the model's own.
    public var guidance: Double?
    /// Epsilon channels that are guided, or ``allChannels``; nil: the model's own.
    public var guidanceChannels: Int?
    /// How much of a guided prediction is brought to the standard deviation of the conditional one, 0 (nothing) to 1.
    public var guidanceRescale = 0.0
    /// The part of the run in which there is guidance, as two fractions of its steps, [from, to] in 0 ... 1; empty: all.
    public var guidanceInterval: [Double] = []
    /// How both predictions are evaluated, which changes no bit: `batched`, `lanes` or `split`; nil: batched.
    public var guidanceExecution: String?
    /// Start noise, one [C, S, S] tensor per label; nil: drawn from the seed.
    public var noise: Tensor?
    /// Noise of the steps in order of use, [draws, labels, C, S, S], as many as ``Session/noiseShape(_:)`` says; nil: drawn from the seed.
    public var stepNoise: Tensor?
    /// What a language model is to continue; other models have no use for it.
    public var text: TextRequest?
    /// Whether latents are turned into images when the model can.
    public var decode = true
    /// Whether events bring a picture of what the state would become; costs a decoding each. Only of models that work scale by
    /// scale.
    public var previews = false
    /// Options of models that work scale by scale.
    public var scales = ScaleOptions()
    /// How latents become pixels; no effect on models without decoder.
    public var tiling = Tiling.automatic

    /// A request for one sample of each of these classes.
    public init(labels: [Int] = []) { self.labels = labels }
}

/// How models that work scale by scale draw. Lists have one value for all scales, or one for each.
public struct ScaleOptions: Sendable {
    /// Only the so many likeliest codes (0: all); empty: the model's own.
    public var topK: [Int] = []
    /// Of these, the unlikeliest ones with 1 - topP of the probability are dropped (0: none); nil: the model's own.
    public var topP: Double?
    /// Divides the logits that are left; empty: 1.
    public var temperature: [Double] = []
    /// Mixes codes instead of drawing one (`more_smooth`): for looks, not for statistics.
    public var mixes = false
    /// A number in 0 ..< 1 for each token, [samples, tokens of all scales]; nil: drawn from the seed.
    public var uniforms: Tensor?
    /// A picture that samples keep a part of.
    public var known: KnownPicture?

    /// The model's own settings.
    public init() {}

    /// Whether nothing is asked for.
    var areDefault: Bool {
        topK.isEmpty && topP == nil && temperature.isEmpty && !mixes && uniforms == nil && known == nil
    }
}

/// A picture of which a part is kept while the rest is drawn anew: in-painting, or editing under another class.
public struct KnownPicture: Sendable {
    /// Pixels in -1 ... 1, one picture for each sample, [samples, 3, H, W]. The model must have an encoder.
    public var image: Tensor
    /// Which pixels are kept: not 0 where they are, [samples, h, w], of any size; resized by nearest neighbours.
    public var keeps: Tensor

    /// Keeps `image` where `keeps` is not 0.
    public init(image: Tensor, keeps: Tensor) { (self.image, self.keeps) = (image, keeps) }
}

/// What happened in a network call, told while the run goes on.
public struct SampleEvent: Sendable {
    /// What the run is doing.
    public enum Stage: Int32, Sendable {
        case denoise = 0
        case decode = 1
        case scale = 2
        case unmask = 3
    }

    /// What the run is doing.
    public let stage: Stage
    /// Network calls done in this stage (1 ... steps), and how many there are: a bound where the sampler decides on the way.
    public let step: Int, steps: Int
    /// The original timestep of the call just made; nil outside denoising.
    public let timestep: Double?
    /// Attention and MLP outputs of this call.
    public let sites: SiteCounts
    /// Seconds since the run began, and floating-point operations of this call.
    public let seconds: Double, flops: Double
    /// State after the call [n, C, h, w]; valid during the call.
    public let latents: Tensor?
    /// Which of the session's networks ran.
    public var network = 0
    /// What the state would become as a picture, when the request asks for previews.
    public var preview: ImageBatch?
    /// What a language model's pass revealed.
    public var text: TextEvent?
}

/// How many attention and MLP outputs were computed, reused, and not needed.
public struct SiteCounts: Sendable, Equatable {
    public var computed: Int, reused: Int, skipped: Int

    /// These counts.
    public init(computed: Int = 0, reused: Int = 0, skipped: Int = 0) {
        (self.computed, self.reused, self.skipped) = (computed, reused, skipped)
    }

    /// Adds the counts of another step or run.
    public static func += (total: inout SiteCounts, more: SiteCounts) {
        total.computed &+= more.computed
        total.reused &+= more.reused
        total.skipped &+= more.skipped
    }
}

/// Whether a run goes on after an event.
public enum SampleDecision: Sendable {
    case `continue`, cancel
}

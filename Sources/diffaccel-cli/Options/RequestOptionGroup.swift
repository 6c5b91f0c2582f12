import ArgumentParser
import DiffAccel

/// What is sampled, and how.
struct RequestOptionGroup: ParsableArguments {
    @Option(help: "Classes, by number or name: 3,5 or 0-9 or dress,bag or all (default: all, up to 16).")
    var labels: String?

    @Option(help: "Samples of each class.")
    var count = 1

    @Option(help: "Sampling steps (default: what a learned plan was made for, else 50).")
    var steps: Int?

    @Option(help: "Sampler: \(Library.samplers.joined(separator: ", ")) (default: the model's own).")
    var sampler: String?

    @Option(help: "Noise of DDIM, from 0 (none) to 1.")
    var eta = 0.0

    @Option(help: "Guidance scale; 1: none (default: the model's own).")
    var guidance: Double?

    @Option(
        help:
            "Timesteps: leading, trailing, linspace; of ddim and ddpm also even, strided, or counts like 10,15,25 (default: the model's own)."
    )
    var spacing: String?

    @Option(help: "Seed of the noise, as in torch.manual_seed.")
    var seed: UInt64 = 0

    @Option(
        help: "Models that work scale by scale: only so many likeliest codes, 0: all; one number or one for each scale."
    )
    var topK: String?

    @Option(help: "Models that work scale by scale: of these, so much of the probability, 0: all.")
    var topP: Double?

    @Option(help: "Models that work scale by scale: what logits are divided by; one number or one for each scale.")
    var temperature: String?

    @Flag(help: "Models that work scale by scale: mix codes instead of drawing them, for looks.")
    var smooth = false

    @Option(help: "Samples computed together; 0: all of them.")
    var batch = 32

    func validate() throws {
        guard count >= 1, count <= SampleRequest.maxSamples else {
            throw ValidationError("--count must be 1...\(SampleRequest.maxSamples).")
        }
        guard batch >= 0 else { throw ValidationError("--batch must not be negative.") }
        if let steps, steps < 1 { throw ValidationError("--steps must be at least 1.") }
    }

    /// The request for a model of these `facts` under `plans`.
    func request(_ facts: ModelFacts, _ plans: [NamedPlan]) throws(DiffError) -> SampleRequest {
        let classes = try classes(facts)
        guard classes.count <= SampleRequest.maxSamples / count else {
            throw DiffError(
                .invalidArgument,
                "\(classes.count) classes, \(count) of each: more than "
                    + "\(SampleRequest.maxSamples) samples")
        }
        var request = SampleRequest(labels: classes.flatMap { Array(repeating: $0, count: count) })
        request.steps = steps ?? (spacing == nil ? plans.lazy.compactMap(\.learnedSteps).first : nil) ?? defaultSteps
        request.sampler = sampler
        request.eta = eta
        request.guidance = guidance
        request.spacing = spacing
        request.seed = seed
        request.scales.topK = try Self.list(topK, "--top-k") { Int($0) }
        request.scales.topP = topP
        request.scales.temperature = try Self.list(temperature, "--temperature") { Double($0) }
        request.scales.mixes = smooth
        return request
    }

    /// Numbers separated by commas; none for no text.
    private static func list<T>(
        _ text: String?, _ option: String, _ number: (String) -> T?
    ) throws(DiffError) -> [T] {
        guard let text else { return [] }
        var values: [T] = []
        for piece in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let value = number(String(piece.trimmed)) else {
                throw DiffError(.invalidArgument, "\(option): \"\(piece)\" is no number")
            }
            values.append(value)
        }
        return values
    }

    // A spacing that lists counts says itself how many steps there are, and 0 leaves it to do so.
    private var defaultSteps: Int { spacing?.first?.isNumber == true ? 0 : 50 }

    private func classes(_ facts: ModelFacts) throws(DiffError) -> [Int] {
        if let labels { return try facts.classIndices(labels) }
        guard facts.classes <= 16 else {
            throw DiffError(.invalidArgument, "the model has \(facts.classes) classes; choose some with --labels")
        }
        return Array(0..<max(1, facts.classes))
    }
}

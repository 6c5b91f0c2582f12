import DiffAccel

/// A request split into batches, so that memory does not grow with the number of samples.
///
/// The start noise is drawn for all samples at once: an image does not depend on the size of its batch. Samplers that add
/// noise at every step draw it batch by batch, from a seed of the batch's own.
enum Batches {
    /// Samples of a request at most, unless told otherwise.
    private static let usual = 32

    /// Requests of at most `size` samples each (0: one request) that together make what `request` asks for; nil: as many as is
    /// usual, but all where the images would depend on it.
    static func split(
        _ request: SampleRequest, size: Int?, _ facts: ModelFacts, _ session: Session
    ) throws(DiffError) -> [SampleRequest] {
        if facts.perPrompt != nil { return try PromptBatches.split(request, size: size, facts) }
        let labels = request.labels
        let isFree = try session.isBatchInvariant(request)
        let size = size ?? (isFree ? usual : 0)
        guard size > 0, size < labels.count, labels.count <= SampleRequest.maxSamples, let input = facts.input else {
            return [request]
        }
        guard facts.startsFromNoise, request.seed >= 0 else { return parts(request, size) }
        let noise = try Tensor(uninitialized: Shape([labels.count] + input), budget: nil)
        if let values = unsafe noise.floats {
            var generator = TorchRandom(seed: UInt64(request.seed))
            unsafe generator.normal(values, count: noise.shape.count)
        }
        var requests: [SampleRequest] = []
        for start in stride(from: 0, to: labels.count, by: size) {
            let count = min(size, labels.count - start)
            var part = request
            part.labels = Array(labels[start..<start + count])
            part.tensors["noise"] = .floats(try noise.rows(start, count))
            // Another stream than the one the start noise came from.
            part["seed"] = .integer(seed(request, 1 + start / size))
            requests.append(part)
        }
        return requests
    }

    /// A seed that is `more` than the request's; behind the largest comes 0.
    private static func seed(_ request: SampleRequest, _ more: Int) -> Int { (request.seed &+ more) & Int.max }

    /// Batches of a model whose draws come one scale after the other for all samples: each has a seed of its own.
    private static func parts(_ request: SampleRequest, _ size: Int) -> [SampleRequest] {
        stride(from: 0, to: request.labels.count, by: size).map { start in
            var part = request
            part.labels = Array(request.labels[start..<min(start + size, request.labels.count)])
            part["seed"] = .integer(seed(request, start / size))
            return part
        }
    }
}

/// What the batches of a request made, put together again.
struct Collected {
    private(set) var pictures: [Picture] = []
    /// Values of sounds, and their spectrograms, frame by frame.
    private(set) var sounds: [[Float]] = [], spectrograms: [[Float]] = []
    /// Bins of a frame.
    private(set) var bins = 0
    private(set) var statistics: SampleStatistics?
    private var latents: [Tensor] = []

    /// Takes in the result of the next batch. Throws `unsupported` for images that are neither gray nor RGB.
    mutating func append(_ result: SampleResult) throws(DiffError) {
        if let images = result.images { pictures += try Picture.all(of: images) }
        if let state = result.latents { latents.append(state) }
        if let audio = result.audio { sounds += Self.rows(of: audio) }
        if let mel = try? result.tensor("mel").tensor {
            spectrograms += Self.rows(of: mel)
            bins = mel.shape.last
        }
        if statistics == nil { statistics = result.statistics } else { statistics?.add(result.statistics) }
    }

    private static func rows(of tensor: Tensor) -> [[Float]] {
        let (values, count) = (tensor.array, tensor.shape[0])
        let each = values.count / max(1, count)
        return (0..<count).map { Array(values[$0 * each..<($0 + 1) * each]) }
    }

    /// The latents of all samples, [n, C, h, w].
    func joinedLatents() throws(DiffError) -> Tensor? {
        guard let first = latents.first else { return nil }
        let count = latents.reduce(0) { $0 + $1.shape[0] }
        let joined = try Tensor(uninitialized: first.shape.replacingFirst(count), budget: nil)
        var offset = 0
        for part in latents {
            if let from = unsafe part.floats, let to = unsafe joined.floats {
                unsafe (to + offset).update(from: from, count: part.shape.count)
            }
            offset += part.shape.count
        }
        return joined
    }
}

extension Collected {
    /// Root mean square difference of the final states of two runs; NaN when they do not fit each other.
    static func distance(_ a: Collected, _ b: Collected) throws(DiffError) -> Double {
        guard let first = try a.joinedLatents(), let second = try b.joinedLatents(), first.shape == second.shape,
            let x = unsafe first.floats, let y = unsafe second.floats
        else { return .nan }
        var sum = 0.0
        for index in 0..<first.shape.count {
            let difference = unsafe Double(x[index]) - Double(y[index])
            sum += difference * difference
        }
        return (sum / Double(max(1, first.shape.count))).squareRoot()
    }
}

extension SiteCounts {
    /// All sites, whatever happened to them.
    var all: Int { computed + reused + skipped }
}

extension SampleStatistics {
    /// Adds those of another batch: times and counts add up, memory is the larger of the two.
    mutating func add(_ other: SampleStatistics) {
        for (index, step) in other.steps.enumerated() where index < steps.count {
            steps[index].seconds += step.seconds
            steps[index].flops += step.flops
            steps[index].sites.computed += step.sites.computed
            steps[index].sites.reused += step.sites.reused
            steps[index].sites.skipped += step.sites.skipped
        }
        parameters += other.parameters
        seconds += other.seconds
        encodeSeconds += other.encodeSeconds
        decodeSeconds += other.decodeSeconds
        cacheBytes = max(cacheBytes, other.cacheBytes)
        workspaceBytes = max(workspaceBytes, other.workspaceBytes)
        peakBytes = max(peakBytes, other.peakBytes)
        allocationsAfterFirstStep += other.allocationsAfterFirstStep
    }
}

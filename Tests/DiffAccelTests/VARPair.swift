import DiffAccel
import TestSupport

/// A drafter with its VQ-VAE, and a refiner beside it.
struct VARPair {
    let directory: ScratchDirectory
    let drafter: Model
    let refiner: Model

    init(_ drafter: TinyVAR = TinyVAR(), refiner: TinyVAR? = nil) throws {
        var second = refiner ?? drafter
        if refiner == nil { (second.width, second.depth, second.seed) = (16, 1, 7) }
        directory = try ScratchDirectory()
        self.drafter = try Model(drafter.write(directory))
        self.refiner = try Model(second.write(directory, as: "refiner", codes: false))
    }

    func session(_ plan: Plan = Plan(), partner: Model? = nil, memoryLimit: Int = 0, threads: Int = 1) throws -> Session
    {
        var options = SessionOptions()
        (options.threads, options.memoryLimit, options.partner) = (threads, memoryLimit, partner)
        return try drafter.session(plan, options)
    }

    func collaborating(_ draftScales: Int) throws -> Session {
        try session(Plan([CollaborativePlan(draftScales: draftScales)]), partner: refiner)
    }

    /// Tokens of the first `scales` scales of one sample.
    func drafted(_ scales: Int) -> Int { [0, 1, 5, 14, 30][scales] }
}

/// A request for these labels.
func scaleRequest(_ labels: [Int] = [0, 3], seed: UInt64 = 1) -> SampleRequest {
    var request = SampleRequest(["labels": (labels).json])
    request["seed"] = seed
    return request
}

extension SampleResult {
    /// Tokens of all scales, samples one after the other.
    var scaleTokens: [Int] { (try? tensor("tokens").integers) ?? [] }
}

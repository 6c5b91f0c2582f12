import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// A tiny model on disk and in memory, with what the tests of a session need around it.
struct Tiny {
    let directory: ScratchDirectory
    let path: String
    let model: Model
    let dit: TinyDiT

    init(_ dit: TinyDiT = TinyDiT(), decoder: TinyAutoencoder? = nil, _ options: ModelOptions = ModelOptions()) throws {
        directory = try ScratchDirectory()
        self.dit = dit
        path = try dit.write(directory)
        try decoder?.write(directory, as: "model/vae")
        model = try Model(path, options)
    }

    var sublayers: Int { 2 * dit.depth }

    func session(_ plan: Plan = Plan(), threads: Int = 1, memoryLimit: Int = 0) throws -> Session {
        var options = SessionOptions()
        (options.threads, options.memoryLimit) = (threads, memoryLimit)
        return try model.session(plan, options)
    }

    /// A router of random logits for this model.
    func router(steps: Int, threshold: Double = 0.5) throws -> Router {
        var numbers = Numbers(77)
        return try Router(logits: (0..<steps).map { _ in numbers.floats(sublayers, scale: 5) }, threshold: threshold)
    }

    /// Start noise for `count` samples.
    func noise(_ count: Int) throws -> Tensor {
        var numbers = Numbers(5)
        return try numbers.tensor([count, dit.inChannels, dit.inputSize, dit.inputSize], scale: 1.7)
    }
}

func request(_ labels: [Int] = [0, 3], steps: Int = 4, guidance: Double? = 4, seed: UInt64 = 1) -> SampleRequest {
    var request = SampleRequest(["labels": (labels).json])
    (request["steps"], request["guidance"], request["seed"]) = (steps, guidance, seed)
    return request
}

func cached(_ policy: CachePolicy) -> Plan { Plan([LayerCachePlan(policy)]) }

/// What went wrong, or nil.
func failure(_ body: () throws -> Void) -> DiffError? {
    do { try body() } catch { return error as? DiffError ?? DiffError(.internal, "not a DiffError: \(error)") }
    return nil
}

extension SampleResult {
    /// The values of the final latents; none when there are none.
    var state: [Float] { latents?.array ?? [] }
}

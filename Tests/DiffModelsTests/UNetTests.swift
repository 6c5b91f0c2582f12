import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// A network of `tiny` loaded from tensors written to a file of its own.
func load(
    _ tiny: TinyUNet, _ tensors: [String: Tensor]? = nil, _ changes: [String: JSON] = [:],
    _ options: Weights.Options = .init()
) throws -> UNet {
    let directory = try ScratchDirectory()
    try directory.write(tensors ?? tiny.tensors(), as: "weights.safetensors")
    let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
    let config = try JSONObject(tiny.config(changes), source: "config.json")
    return try UNet(UNetConfiguration(config), Weights(table, options: options))
}

/// What `tiny` is given: states of `h` x `w`, times, and all that it is told beside.
struct UNetInputs {
    let x, t: Tensor
    var conditioning: Conditioning

    init(_ tiny: TinyUNet, batch: Int = 2, height: Int = 8, width: Int = 8, tokens: Int = 5) throws {
        var numbers = Numbers(77)
        x = try numbers.tensor([batch, tiny.inChannels, height, width])
        t = try Tensor((0..<batch).map { 17.5 + 300 * Float($0) }, Shape(batch))
        conditioning = Conditioning(states: try numbers.tensor([batch, tokens, tiny.textWidth]))
        if tiny.sizeFeatures > 0 {
            conditioning.pooled = try numbers.tensor([batch, tiny.pooledWidth])
            conditioning.sizes = try numbers.tensor([batch, 6], scale: 200, around: 300)
        }
        if tiny.guidanceFeatures > 0 { conditioning.guidance = try numbers.tensor([batch], scale: 3, around: 6.5) }
    }

    /// One sample of these.
    func row(_ row: Int) throws -> UNetInputs {
        var one = self
        one = try UNetInputs(x: x.rows(row, 1), t: t.rows(row, 1), conditioning: conditioning)
        one.conditioning.states = try conditioning.states.rows(row, 1)
        one.conditioning.pooled = try conditioning.pooled?.rows(row, 1)
        one.conditioning.sizes = try conditioning.sizes?.rows(row, 1)
        one.conditioning.guidance = try conditioning.guidance?.rows(row, 1)
        return one
    }

    private init(x: Tensor, t: Tensor, conditioning: Conditioning) {
        (self.x, self.t, self.conditioning) = (x, t, conditioning)
    }
}

/// A run of one call of `network` under `methods`.
func newRun(_ network: UNet, threads: Int = 1, _ methods: (any Acceleration)...) throws -> Run {
    let run = Run(pool: try WorkerPool(threads: threads), budget: nil, stack: AccelerationStack(methods))
    try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 4))
    return run
}

/// The prediction of `network`.
func predict(_ network: UNet, _ inputs: UNetInputs, _ run: Run) throws -> [Float] {
    try network(inputs.x, t: inputs.t, network.prepare(inputs.conditioning, run), run).array
}

/// Kinds of networks that differ in what they are told and given.
enum UNetKind: CaseIterable {
    case plain, xl, consistency, inpainting

    var tiny: TinyUNet {
        var tiny = TinyUNet()
        switch self {
        case .plain: tiny.projectsByConvolution = true
        case .xl: (tiny.sizeFeatures, tiny.blocks, tiny.channels) = (6, 2, [8, 12, 16])
        case .consistency: tiny.guidanceFeatures = 10
        case .inpainting: (tiny.inChannels, tiny.layers) = (9, 2)
        }
        return tiny
    }
}

@Suite struct UNetTests {
    @Test(arguments: UNetKind.allCases)
    func aBatchIsItsSamplesBitForBit(_ kind: UNetKind) throws {
        let network = try load(kind.tiny)
        let inputs = try UNetInputs(kind.tiny, batch: 3, height: 7, width: 10)
        let run = try newRun(network)
        let whole = try predict(network, inputs, run)
        let areFinite = whole.allSatisfy { $0.isFinite }
        #expect(whole.count == 3 * 4 * 70 && areFinite)
        let all = try network.prepare(inputs.conditioning, run)
        for row in 0..<3 {
            let one = try inputs.row(row)
            let expected = Array(whole[row * 280..<(row + 1) * 280])
            #expect(try sameBits(predict(network, one, run), expected))
            #expect(try sameBits(network(one.x, t: one.t, all.rows(row, 1), run).array, expected))
        }
        #expect(try sameBits(predict(network, inputs, newRun(network, threads: 2)), whole))
    }

    /// A dry run asks for the same memory and counts the same operations, at any size.
    @Test(arguments: UNetKind.allCases)
    func aDryRunForeseesARealOne(_ kind: UNetKind) throws {
        let network = try load(kind.tiny)
        for (height, width) in [(8, 8), (9, 6), (24, 20)] {
            let inputs = try UNetInputs(kind.tiny, height: height, width: width)
            let real = try newRun(network, threads: 2)
            let dry = Run(dryOn: 2)
            try dry.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 4))
            for run in [real, dry] {
                let prepared = try network.prepare(inputs.conditioning, run)
                for _ in 0..<2 {
                    let shape = try network(inputs.x, t: inputs.t, prepared, run).shape
                    #expect(try shape == inputsShape(inputs))
                }
            }
            #expect(real.workspace.peakBytes == dry.workspace.peakBytes)
            #expect(real.workspace.allocations == dry.workspace.allocations)
            #expect(real.trace.flops == dry.trace.flops && (real.trace.flops.first ?? 0) > 0)
        }
    }

    private func inputsShape(_ inputs: UNetInputs) throws -> Shape {
        try Shape(inputs.x.shape[0], 4, inputs.x.shape[2], inputs.x.shape[3])
    }

    @Test func everySpellingIsOneNetwork() throws {
        var tiny = TinyUNet()
        let tensors = try tiny.tensors()
        let expected = try predict(load(tiny, tensors), UNetInputs(tiny), newRun(load(tiny, tensors)))
        // Projections as 1 x 1 convolutions.
        var convolutions = tensors
        for (name, tensor) in tensors where name.contains(".proj_in.weight") || name.contains(".proj_out.weight") {
            convolutions[name] = try tensor.reshaped(Shape(tensor.shape[0], tensor.shape[1], 1, 1))
        }
        tiny.projectsByConvolution = true
        // Fused projections, with and without their parts.
        var (both, fused) = (tensors, tensors)
        for (name, q) in tensors where name.hasSuffix("attn1.to_q.weight") || name.hasSuffix("attn2.to_k.weight") {
            let isSelf = name.contains("attn1")
            let stem = String(name.dropLast("to_q.weight".count))
            let names = (isSelf ? ["to_q", "to_k", "to_v"] : ["to_k", "to_v"]).map { "\(stem)\($0).weight" }
            let values = names.flatMap { tensors[$0]?.array ?? [] }
            let whole = try Tensor(values, Shape(names.count * q.shape[0], q.shape[1]))
            both["\(stem)\(isSelf ? "to_qkv" : "to_kv").weight"] = whole
            fused["\(stem)\(isSelf ? "to_qkv" : "to_kv").weight"] = whole
            for name in names { fused[name] = nil }
        }
        for spelling in [convolutions, both, fused] {
            let network = try load(tiny, spelling)
            #expect(try sameBits(predict(network, UNetInputs(tiny), newRun(network)), expected))
        }
    }

    @Test func theGuidanceScaleIsToldAsItsFeatures() throws {
        var tiny = TinyUNet()
        tiny.guidanceFeatures = 6
        let network = try load(tiny)
        var inputs = try UNetInputs(tiny, batch: 1)
        inputs.conditioning.guidance = try Tensor([6.5], Shape(1))
        let run = try newRun(network)
        let told = try predict(network, inputs, run)
        // sin and cos of 6500 w, w = 10000^(-k / 2): get_guidance_scale_embedding of diffusers.
        let angles = [Double](arrayLiteral: 1, 0.01, 0.0001).map { 6500 * $0 }
        let features = try Tensor(
            angles.map { Float(sine($0)) } + angles.map { Float(sine($0 + .pi / 2)) }, Shape(1, 6))
        let prepared = try network.prepare(inputs.conditioning, guidanceFeatures: features, run)
        let expected = try network(inputs.x, t: inputs.t, prepared, run).array
        #expect(Difference(told, expected).absolute < 1e-4)
        inputs.conditioning.guidance = nil
        #expect(try Difference(predict(network, inputs, run), expected).absolute > 1e-3)
        #expect(network.takesGuidance && !network.takesSizes && network.pooledWidth == nil)
    }

    private func sine(_ x: Double) -> Double {
        // Reduced to -π ... π, where the series is exact enough.
        let r = x - (x / (2 * .pi)).rounded() * 2 * .pi
        var (term, sum) = (r, r)
        for k in 1..<20 {
            term *= -r * r / Double(2 * k * (2 * k + 1))
            sum += term
        }
        return sum
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let tiny = UNetKind.xl.tiny
        let network = try load(tiny)
        let run = try newRun(network)
        let inputs = try UNetInputs(tiny)
        let prepared = try network.prepare(inputs.conditioning, run)
        func code(_ body: () throws -> Void) -> DiffError.Code? {
            do { try body() } catch { return (error as? DiffError)?.code }
            return nil
        }
        let flat = try inputs.x.reshaped(Shape(1, 8, 8, 8))
        #expect(code { _ = try network(flat, t: inputs.t.rows(0, 1), prepared, run) } == .shape)
        #expect(code { _ = try network(inputs.x, t: inputs.t.rows(0, 1), prepared, run) } == .shape)
        #expect(code { _ = try network(inputs.x, t: inputs.t, prepared.rows(0, 1), run) } == .shape)
        #expect(
            code { _ = try network(inputs.x, t: inputs.t, PreparedConditioning([], samples: 2), run) } == .shape)
        var wrong = inputs.conditioning
        wrong.states = try wrong.states.reshaped(Shape(2, tiny.textWidth, 5))
        #expect(code { _ = try network.prepare(wrong, run) } == .shape)
        wrong = inputs.conditioning
        wrong.pooled = nil
        #expect(code { _ = try network.prepare(wrong, run) } == .invalidArgument)
        wrong = inputs.conditioning
        wrong.sizes = try wrong.sizes?.reshaped(Shape(4, 3))
        #expect(code { _ = try network.prepare(wrong, run) } == .shape)
    }

    @Test func weightsAreLoadedForLearningAndInEveryType() throws {
        let tiny = UNetKind.xl.tiny
        let inputs = try UNetInputs(tiny)
        let network = try load(tiny)
        let expected = try predict(network, inputs, newRun(network))
        let learned = try load(tiny, nil, [:], .init(parameters: Parameters()))
        #expect(try Difference(predict(learned, inputs, newRun(learned)), expected).absolute < 1e-5)
        var narrow: [String: Tensor] = [:]
        for (name, tensor) in try tiny.tensors() { narrow[name] = try tensor.narrowed(.f16) }
        let half = try load(tiny, narrow)
        #expect(try Difference(predict(half, inputs, newRun(half)), expected).relative < 0.02)
        let bytes = try load(tiny, nil, [:], .init(type: .int8))
        #expect(try Difference(predict(bytes, inputs, newRun(bytes)), expected).relative < 0.2)
    }
}

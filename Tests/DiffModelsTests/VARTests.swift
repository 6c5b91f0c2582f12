import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct VARTests {
    private func network(_ tiny: TinyVAR, _ directory: ScratchDirectory) throws -> VAR {
        let checkpoint = try Checkpoint.open(path: tiny.write(directory))
        return try VAR(VARConfiguration(checkpoint.configuration, checkpoint.weights()), checkpoint.weights())
    }

    @Test(arguments: [
        (2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 2, 3]), (6, [0, 0, 1, 2, 3, 3]),
        (7, [0, 0, 1, 2, 2, 3, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3]), (9, [0, 0, 1, 1, 2, 2, 2, 3, 3]),
        (10, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]), (14, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]),
    ])
    func theConvolutionOfAScaleIsThePublishedOne(_ scales: Int, _ expected: [Int]) {
        #expect((0..<scales).map { ScaleSchedule.convolution($0, of: scales, among: 4) } == expected)
        #expect((0..<scales).allSatisfy { ScaleSchedule.convolution($0, of: scales, among: 1) == 0 })
    }

    @Test func offsetsAreThoseOfThePublishedSchedules() throws {
        #expect(try ScaleSchedule(ScaleSchedule.sides256).offsets == [0, 1, 5, 14, 30, 55, 91, 155, 255, 424, 680])
        #expect(try ScaleSchedule(ScaleSchedule.sides512).offsets == [0, 1, 5, 14, 30, 66, 147, 316, 640, 1216, 2240])
        for sides in [[], [1], [2, 3], [1, 3, 2], [1, 129], [1, 0], Array(repeating: 1, count: 65)] {
            #expect(throws: DiffError.self) { try ScaleSchedule(sides) }
        }
    }

    /// One scale after the other with a cache, several at once, or all of them: the bits are the same.
    @Test(arguments: [false, true])
    func howTokensAreFedChangesNoBit(_ shared: Bool) throws {
        var tiny = TinyVAR()
        tiny.sharesModulation = shared
        let network = try network(tiny, ScratchDirectory())
        let schedule = network.configuration.schedule
        var numbers = Numbers(5)
        let x = try numbers.tensor([3, schedule.tokens, tiny.width])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let labels = [0, 5, 0]
        let whole = VARContext(network, labels: labels, capacity: schedule.tokens)
        let expected = try whole.advance(x, through: schedule.count, wanting: 0, run)
        for cuts in [[1, 2, 3, 4], [2, 4], [3, 4], [1, 4]] {
            let context = VARContext(network, labels: labels, capacity: schedule.tokens)
            var scale = 0
            for end in cuts {
                let (from, to) = (schedule.offset(scale), schedule.offset(end))
                let part = try context.advance(
                    run.copy(run.tokens(x, from, to - from)), through: end, wanting: end - 1, run)
                let last = schedule.offset(end - 1)
                #expect(
                    try sameBits(part.array, run.tokens(expected, last, to - last).array),
                    "cut at \(cuts), scale \(end - 1)")
                scale = end
            }
        }
    }

    @Test func labelsThatRepeatAreModulatedOnce() throws {
        let network = try network(TinyVAR(), ScratchDirectory())
        func flops(_ labels: [Int]) throws -> Double {
            let run = Run(dryOn: 1)
            let context = VARContext(network, labels: labels, capacity: 1)
            let x = try run.workspace.take(Shape(labels.count, 1, network.configuration.width))
            _ = try context.advance(x, through: 1, wanting: 0, run)
            return run.trace.flops[0]
        }
        #expect(try flops([1, 1, 1, 1]) < flops([1, 2, 3, 4]))
    }

    @Test func configsThatDoNotFitAreRefused() throws {
        let directory = try ScratchDirectory()
        let checkpoint = try Checkpoint.open(path: TinyVAR().write(directory))
        for (key, value) in [
            ("depth", JSON.integer(3)), ("depth", .integer(4000)), ("embed_dim", .integer(48)),
            ("num_heads", .integer(5)),
            ("vocab_size", .integer(25)), ("num_classes", .integer(6)),
            ("patch_nums", .array([.integer(1), .integer(5)])),
            ("patch_nums", .array([.integer(3)])), ("shared_aln", .bool(true)), ("attn_l2_norm", .bool(false)),
            ("norm_eps", .number(-1)), ("depth", .string("two")),
        ] {
            guard case .object(var members) = TinyVAR().config else { return }
            members[key] = value
            #expect(throws: DiffError.self, "\(key): \(value)") {
                let config = try JSONObject(.object(members), source: "config")
                _ = try VAR(VARConfiguration(config, checkpoint.weights()), checkpoint.weights())
            }
        }
    }

    /// Gradients of all tensors, recomputed or not, against a step of the loss along them. The keys' bias is a buffer of zeros.
    @Test(arguments: [false, true], [false, true])
    func gradientsPassThroughTheNetwork(_ shared: Bool, _ recomputes: Bool) throws {
        var tiny = TinyVAR()
        tiny.sharesModulation = shared
        let directory = try ScratchDirectory()
        let checkpoint = try Checkpoint.open(path: tiny.write(directory))
        let parameters = Parameters { !$0.hasSuffix("zero_k_bias") }
        let learning = checkpoint.weights(Weights.Options(parameters: parameters))
        let c = try VARConfiguration(checkpoint.configuration, checkpoint.weights())
        let network = try VAR(c, learning)
        let plain = try VAR(c, checkpoint.weights())
        var numbers = Numbers(3)
        let codes = try numbers.tensor([2, 29, 4])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let expected = try plain(codes, labels: [1, 4], run)
        let r = try numbers.tensor(expected.shape.dims)
        func loss() throws -> Double {
            try zip(network(codes, labels: [1, 4], run).array, r.array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let gradients = try ParameterGradients(parameters, budget: nil)
        let tape = Tape(gradients, recomputes: recomputes)
        try run.recording(tape) { () throws(DiffError) in
            let out = try network(codes, labels: [1, 4], run)
            try tape.pass(r, to: out, run)
            try tape.backward(run)
        }
        #expect(Difference(try network(codes, labels: [1, 4], run).array, expected.array).absolute < 1e-4)
        let trained = parameters.trained
        #expect(trained.count == tiny.shapes.count - tiny.depth)
        for (index, parameter) in trained.enumerated() {
            let g = try #require(gradients[index]).array
            let length = g.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            guard length > 1e-6, let values = parameter.tensor.floats else { continue }
            let step = 2e-3 / length
            let before = parameter.tensor.array
            func moved(_ sign: Double) throws -> Double {
                for i in before.indices { values[i] = before[i] + Float(sign * step * Double(g[i])) }
                defer { for i in before.indices { values[i] = before[i] } }
                return try loss()
            }
            let slope = (try moved(1) - moved(-1)) / (2 * step)
            #expect(
                abs(slope - length * length) <= 0.03 * length * length + 0.02 * length,
                "\(parameter.names): slope \(slope), expected \(length * length)")
        }
    }

    @Test func laterScalesAloneHaveTheSameLogits() throws {
        let network = try network(TinyVAR(), ScratchDirectory())
        let schedule = network.configuration.schedule
        var numbers = Numbers(8)
        let codes = try numbers.tensor([2, schedule.tokens - 1, 4])
        let run = Run(pool: nil, budget: nil)
        let all = try network(codes, labels: [1, 3], run)
        for first in 0..<schedule.count {
            let (start, count) = (schedule.offset(first), schedule.tokens - schedule.offset(first))
            let some = try network(codes, labels: [1, 3], from: first, run)
            #expect(try sameBits(some.array, run.tokens(all, start, count).array))
        }
        for first in [-1, schedule.count, Int.max] {
            #expect(throws: DiffError.self) { try network(codes, labels: [1, 3], from: first, run) }
        }
        #expect(schedule.levels(0, 14) == [0, 1, 1, 1, 1] + [Int](repeating: 2, count: 9))
        #expect(schedule.levels(4, 3) == [1, 2, 2])
    }

    @Test func loadingWithoutMemoryTakesNone() throws {
        let directory = try ScratchDirectory()
        let checkpoint = try Checkpoint.open(path: TinyVAR().write(directory))
        let weights = checkpoint.weights(Weights.Options(dryRun: true))
        _ = try VAR(VARConfiguration(checkpoint.configuration, weights), weights)
    }

    @Test(arguments: [DType.f16, .bf16])
    func narrowWeightsComputeAsWideOnes(_ type: DType) throws {
        let directory = try ScratchDirectory()
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        var numbers = Numbers(1)
        var tensors = try tiny.tensors(tiny.shapes)
        for (name, tensor) in tensors where tensor.shape.rank == 2 {
            tensors[name] = try numbers.tensor(tensor.shape.dims, scale: 0.2).narrowed(type)
        }
        try directory.write(tensors, as: "var/model.safetensors")
        let checkpoint = try Checkpoint.open(path: path)
        let c = try VARConfiguration(checkpoint.configuration, checkpoint.weights())
        let (narrow, wide) = (
            try VAR(c, checkpoint.weights()), try VAR(c, checkpoint.weights(Weights.Options(type: .f32)))
        )
        let codes = try numbers.tensor([2, 29, 4])
        let run = Run(pool: nil, budget: nil)
        #expect(try sameBits(narrow(codes, labels: [1, 2], run).array, wide(codes, labels: [1, 2], run).array))
    }
}

import DiffTensor
import TestSupport
import Testing

/// Every op that has a way back, over small shapes around the widths of vectors and tiles.
@Suite struct GradientTests {
    @Test(arguments: [1, 2, 3, 7, 8, 17], [1, 3, 9, 16, 33])
    func linear(_ k: Int, _ n: Int) throws {
        for (dims, activation) in withEvery([[1, k], [3, k], [2, 5, k]], Self.smooth) {
            var numbers = Numbers(UInt64(k * 100 + n))
            let inputs = [try numbers.tensor(dims), try numbers.tensor([n, k]), try numbers.tensor([n])]
            try checkGradient("linear \(activation)", inputs) { (run, x) throws(DiffError) in
                try run.linear(x[0], WeightMatrix(x[1]), bias: x[2], activation: activation)
            }
        }
    }

    /// Parts of one parameter, as a block's modulation takes them.
    @Test func partsOfAParameterShareItsGradient() throws {
        var numbers = Numbers(5)
        let inputs = [try numbers.tensor([3, 4]), try numbers.tensor([6, 4]), try numbers.tensor([6])]
        try checkGradient("slices", inputs) { (run, x) throws(DiffError) in
            let w = try WeightMatrix(x[1])
            let first = try run.linear(x[0], w.outputs(0, 4), bias: x[2].rows(0, 4))
            let second = try run.linear(first, w.outputs(2, 4), bias: x[2].rows(2, 4))
            return try run.add(first, run.activate(second, .silu))
        }
    }

    /// Differences across a kink tell nothing of either side.
    private static let smooth = Activation.allCases.filter { $0 != .relu }

    @Test func bothSidesOfAKink() throws {
        let values: [Float] = (0..<21).map { ($0 % 2 == 0 ? 1 : -1) * (0.5 + Float($0)) }
        try checkGradient("relu", [try Tensor(values, Shape(3, 7))]) { (run, x) throws(DiffError) in
            try run.activate(x[0], .relu)
        }
    }

    @Test(arguments: smooth)
    func activations(_ activation: Activation) throws {
        var numbers = Numbers(3)
        try checkGradient("\(activation)", [try numbers.tensor([2, 21], scale: 4)]) { (run, x) throws(DiffError) in
            try run.activate(x[0], activation)
        }
    }

    @Test(arguments: [2, 3, 8, 9, 17, 33])
    func norms(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let x = try numbers.tensor([2, 3, width])
        let m = try numbers.tensor([2, 4 * width])
        try checkGradient("modulated norm", [x, m]) { (run, x) throws(DiffError) in
            let (shift, scale) = (try RowVectors(x[1], 1, of: 4), try RowVectors(x[1], 2, of: 4))
            return try run.normModulate(x[0], shift: shift, scale: scale, eps: 1e-2)
        }
        let (w, b) = (try numbers.tensor([width]), try numbers.tensor([width]))
        try checkGradient("layer norm", [x, w, b]) { (run, x) throws(DiffError) in
            try run.layerNorm(x[0], weight: x[1], bias: x[2], eps: 1e-2)
        }
    }

    @Test(arguments: [1, 5, 16])
    func gates(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let (x, a, m) = (
            try numbers.tensor([2, 3, width]), try numbers.tensor([2, 3, width]), try numbers.tensor([2, 3 * width])
        )
        try checkGradient("gated add", [x, a, m]) { (run, x) throws(DiffError) in
            try run.addGated(x[0], x[1], gate: RowVectors(x[2], 2, of: 3))
        }
    }

    @Test(arguments: [1, 2])
    func mixtures(_ groups: Int) throws {
        var numbers = Numbers(9)
        let (a, b, w) = (try numbers.tensor([2, 3, 5]), try numbers.tensor([2, 3, 5]), try numbers.tensor([groups]))
        try checkGradient("mix", [a, b, w]) { (run, x) throws(DiffError) in try run.mix(x[0], x[1], weights: x[2]) }
    }

    @Test func aMixtureOfNothingGoesThroughNothing() throws {
        var numbers = Numbers(9)
        let inputs = [
            try numbers.tensor([2, 3]), try numbers.tensor([2, 3]), try Tensor([0, 0], Shape(2)),
            try numbers.tensor([3, 3]),
        ]
        let parameters = Parameters()
        let x = inputs.map { parameters.add(["x"], $0, trained: true) }
        let buffers = try ParameterGradients(parameters, budget: nil)
        let tape = Tape(buffers)
        let run = Run(pool: nil, budget: nil)
        let out = try run.recording(tape) { () throws(DiffError) in
            let out = try run.mix(run.linear(x[0], WeightMatrix(x[3]), bias: nil), x[1], weights: x[2])
            try tape.pass(out.detached, to: out, run)
            try tape.backward(run)
            return out
        }
        #expect(sameBits(out.array, inputs[1].array))
        #expect(buffers[3] == nil && buffers[0] == nil && buffers[1] != nil && buffers[2] != nil)
    }

    @Test(arguments: [1, 2, 5, 9, 17], [1, 2, 4, 9])
    func attention(_ tokens: Int, _ headDim: Int) throws {
        var numbers = Numbers(UInt64(tokens * 10 + headDim))
        let width = 2 * headDim
        try checkGradient("fused", [try numbers.tensor([2, tokens, 3 * width])]) { (run, x) throws(DiffError) in
            let parts = try (0..<3).map { (part) throws(DiffError) in try AttentionRows(x[0], part: part, of: 3) }
            return try run.denseAttention(parts[0], parts[1], parts[2], heads: 2)
        }
        let apart = [
            try numbers.tensor([2, tokens, width]), try numbers.tensor([2, 3, width]),
            try numbers.tensor([2, 3, width]),
        ]
        try checkGradient("apart", apart) { (run, x) throws(DiffError) in
            try run.denseAttention(AttentionRows(x[0]), AttentionRows(x[1]), AttentionRows(x[2]), heads: 2)
        }
    }

    @Test func layouts() throws {
        var numbers = Numbers(2)
        try checkGradient("patchify", [try numbers.tensor([2, 3, 4, 6])]) { (run, x) throws(DiffError) in
            try run.patchify(x[0], patch: 2)
        }
        try checkGradient("unpatchify", [try numbers.tensor([2, 6, 12])]) { (run, x) throws(DiffError) in
            try run.unpatchify(x[0], channels: 3, gridHeight: 2, gridWidth: 3, patch: 2)
        }
        try checkGradient("embedding", [try numbers.tensor([4, 3])]) { (run, x) throws(DiffError) in
            try run.embedding(x[0], [2, 0, 2])
        }
        for first in 0...2 {
            try checkGradient("channels", [try numbers.tensor([2, 4, 3, 2])]) { (run, x) throws(DiffError) in
                try run.channels(x[0], first, 2)
            }
        }
        try checkGradient("table", [try numbers.tensor([3, 6]), try numbers.tensor([6])]) {
            (run, x) throws(DiffError) in try run.addTable(x[0], x[1])
        }
        try checkGradient("copy", [try numbers.tensor([3, 6])]) { (run, x) throws(DiffError) in try run.copy(x[0]) }
    }

    @Test func aTensorUsedTwiceCollectsBothGradients() throws {
        var numbers = Numbers(7)
        try checkGradient("sums", [try numbers.tensor([2, 3]), try numbers.tensor([2, 3])]) {
            (run, x) throws(DiffError) in
            let sum = try run.add(x[0], x[0])
            let mixed = try run.combine(1, sum, -0.5, x[1])
            return try run.add(run.combine(2, mixed, 1, mixed), run.add(mixed, run.activate(mixed, .silu)))
        }
    }

    @Test func segmentsAreComputedAgain() throws {
        var numbers = Numbers(8)
        let inputs = [try numbers.tensor([2, 3, 4]), try numbers.tensor([4, 4]), try numbers.tensor([4])]
        let op: (Run, [Tensor]) throws(DiffError) -> Tensor = { (run, x) throws(DiffError) in
            let h = try run.linear(x[0], WeightMatrix(x[1]), bias: x[2], activation: .geluTanh)
            return try run.add(x[0], run.linear(h, WeightMatrix(x[1]), bias: x[2]))
        }
        try checkGradient("segment", inputs, recomputes: true, op)
        let r = try numbers.tensor([2, 3, 4])
        let run = Run(pool: nil, budget: nil)
        let (kept, again) = (try gradients(of: op, inputs, r, run), try gradients(of: op, inputs, r, run, true))
        #expect(kept == again)
    }

    @Test func whatHasNoWayBackSaysSo() throws {
        let x = try Tensor([1, 2, 3, 4], Shape(1, 4, 1, 1))
        func refusal(_ op: (Run, Tensor) throws -> Void) throws {
            let parameters = Parameters()
            let tracked = parameters.add(["x"], x, trained: true)
            let tape = Tape(try ParameterGradients(parameters, budget: nil))
            refuses(.unsupported) { run in
                try run.recording(tape) { () throws(DiffError) in
                    do { try op(run, tracked) } catch let error as DiffError { throw error } catch {}
                }
            }
        }
        try refusal { run, x in _ = try run.softmax(x) }
        try refusal { run, x in _ = try run.upsampleNearest(x, factor: 2) }
    }

    /// After the first pass every block is found again.
    @Test func passesDoNotAllocate() throws {
        var numbers = Numbers(4)
        let inputs = [try numbers.tensor([2, 3, 8]), try numbers.tensor([8, 8]), try numbers.tensor([8])]
        let r = try numbers.tensor([2, 3, 8])
        let run = Run(pool: nil, budget: nil)
        let op: (Run, [Tensor]) throws(DiffError) -> Tensor = { (run, x) throws(DiffError) in
            try run.linear(x[0], WeightMatrix(x[1]), bias: x[2], activation: .silu)
        }
        _ = try gradients(of: op, inputs, r, run)
        let after = run.workspace.allocations
        for _ in 0..<10 { _ = try gradients(of: op, inputs, r, run) }
        #expect(run.workspace.allocations == after)
    }

    @Test func aFailedPassLeavesNothingBehind() throws {
        let parameters = Parameters()
        let x = parameters.add(["x"], try Tensor([1, 2], Shape(1, 2)), trained: true)
        weak var tape: Tape?
        do {
            let own = Tape(try ParameterGradients(parameters, budget: nil))
            tape = own
            let run = Run(pool: nil, budget: nil)
            #expect(throws: DiffError.self) {
                try run.recording(own) { () throws(DiffError) in
                    _ = try run.segment { () throws(DiffError) in try run.activate(x, .silu) }
                    throw DiffError(.notFinite, "stopped")
                }
            }
        }
        #expect(tape == nil)
    }

    @Test func attentionInSpans() throws {
        var numbers = Numbers(31)
        let qkv = try numbers.tensor([2, 6, 3 * 8])
        let spans = [
            AttentionSpan(first: 0, count: 1, keys: 1), AttentionSpan(first: 1, count: 2, keys: 3),
            AttentionSpan(first: 3, count: 3, keys: 6),
        ]
        try checkGradient("spans", [qkv]) { (run, x) throws(DiffError) in
            let rows = (
                try AttentionRows(x[0], part: 0, of: 3), try AttentionRows(x[0], part: 1, of: 3),
                try AttentionRows(x[0], part: 2, of: 3)
            )
            return try run.spannedAttention(rows.0, rows.1, rows.2, heads: 2, scale: 0.8, spans: spans)
        }
    }
}

import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct LanguageOpTests {
    @Test(arguments: awkwardSizes + [64, 200, 1030])
    func rmsNormSubtractsNoMean(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let (x, w) = (try numbers.tensor([1, 3, width], around: 0.5), try numbers.tensor([width]))
        var expected: [Double] = []
        for row in 0..<3 {
            let values = x.doubles[(row * width)..<((row + 1) * width)]
            let mean = values.reduce(0) { $0 + $1 * $1 } / Double(width)
            for (i, value) in values.enumerated() { expected.append(w.doubles[i] * value / (mean + 1e-5).squareRoot()) }
        }
        try check("rms norm", expected, [1, 3, width], tolerance: 2e-6) { try $0.rmsNorm(x, weight: w, eps: 1e-5) }
    }

    @Test(arguments: awkwardSizes, Activation.allCases)
    func theFirstHalfGatesTheSecond(_ width: Int, _ activation: Activation) throws {
        var numbers = Numbers(UInt64(width))
        let x = try numbers.tensor([1, 3, 2 * width], scale: 5)
        let values = x.doubles
        var expected: [Double] = []
        for row in 0..<3 {
            for i in 0..<width {
                let (gate, up) = (values[2 * row * width + i], values[(2 * row + 1) * width + i])
                expected.append(reference(activation, gate) * up)
            }
        }
        try check("\(activation)", expected, [1, 3, width], tolerance: 4e-6) { try $0.gated(x, activation) }
    }

    /// Embeddings out of packed weights are those of the table.
    @Test(arguments: [3, 16, 17, 600], [DType.f32, .f16, .bf16])
    func packedRowsAreTheTable(_ width: Int, _ type: DType) throws {
        var numbers = Numbers(4)
        let table = type == .f32 ? try numbers.tensor([37, width]) : try numbers.narrow([37, width], type)
        let wide = try table.widened(budget: nil).array
        let (plain, packed) = (try WeightMatrix(table), try WeightMatrix(table).packed(budget: nil))
        let run = Run(pool: nil, budget: nil)
        let tokens = [0, 36, 5, 5, 17, 25, 31]
        let a = try run.embedding(plain, tokens).array
        #expect(try sameBits(a, run.embedding(packed, tokens).array))
        #expect(sameBits(a, tokens.flatMap { Array(wide[($0 * width)..<(($0 + 1) * width)]) }))
        // Quantised ones are near it: half of 1/127 of the row's largest.
        let near = try run.embedding(WeightMatrix(table).quantised(budget: nil), tokens).array
        for (row, values) in stride(from: 0, to: a.count, by: width).map({ ($0, a[$0..<$0 + width]) }) {
            let bound = (values.map(abs).max() ?? 0) / 127 * 0.50001
            #expect(zip(values, near[row...]).allSatisfy { abs($0 - $1) <= bound })
        }
        refuses(.invalidArgument) { _ = try $0.embedding(packed, [37]) }
        refuses(.invalidArgument) { _ = try $0.embedding(plain, [-1]) }
    }

    /// Two samples of different lengths, one padded, stored in two passes of ragged rows; heads that share keys; against sums in
    /// double precision over the latest keys and values.
    @Test(arguments: [2, 8, 18, 34], [1, 2, 4])
    func attentionReadsTheWholeMemory(_ headDim: Int, _ group: Int) throws {
        let kvHeads = 2
        let heads = kvHeads * group
        let sizes: [(length: Int, padding: Int)] = [(21, 0), (35, 3)]
        var numbers = Numbers(UInt64(headDim))
        let passes = [[Array(0..<21), Array(3..<35)], [[0, 7, 20], [3, 4, 5, 30]]]
        let queries = try passes.map { try numbers.tensor([1, $0.flatMap(\.self).count, heads * headDim], scale: 2) }
        let projections = try passes.map { try numbers.tensor([1, $0.flatMap(\.self).count, 2 * kvHeads * headDim]) }
        let base: Float = 10_000
        // The reference: keys and values by sequence and position, kept from pass to pass.
        var keys: [[Int: [Double]]] = [[:], [:]]
        var values = keys
        var expected: [Double] = []
        for (pass, rows) in passes.enumerated() {
            var row = 0
            for (index, positions) in rows.enumerated() {
                for position in positions {
                    let width = kvHeads * headDim
                    let kv = Array(projections[pass].doubles[(row * 2 * width)..<((row + 1) * 2 * width)])
                    let turn = position - sizes[index].padding
                    keys[index][position] = turned(Array(kv[..<width]), turn, headDim, Double(base))
                    values[index][position] = Array(kv[width...])
                    row += 1
                }
            }
            guard pass == 1 else { continue }
            row = 0
            for (index, positions) in rows.enumerated() {
                for position in positions {
                    let width = heads * headDim
                    let q = turned(
                        Array(queries[pass].doubles[(row * width)..<((row + 1) * width)]),
                        position - sizes[index].padding,
                        headDim, Double(base))
                    for head in 0..<heads {
                        let at = head / group * headDim
                        let query = Array(q[(head * headDim)..<((head + 1) * headDim)])
                        expected += attention(query, sizes[index], keys[index], values[index], at)
                    }
                    row += 1
                }
            }
        }
        try check("memory attention", expected, [1, 7, heads * headDim], tolerance: 5e-6) { run in
            let memory = try sizes.map {
                try PackedKeysValues(length: $0.length, padding: $0.padding, heads: kvHeads, headDim: headDim, run)
            }
            let rotary = try RotaryTable(count: 35, headDim: headDim, base: base, run)
            for (pass, rows) in passes.enumerated() {
                let sets = try zip(rows, sizes).map { try PositionSet($0, of: $1.length) }
                try run.store(projections[pass], at: sets, in: memory, rotary)
                let q = try run.copy(queries[pass])
                let out = try run.attention(q, at: sets, over: memory, rotary, heads: heads)
                if pass == 1 { return out }
            }
            throw DiffError(.internal, "no pass")
        }
    }

    /// One head of one query over all positions of a sequence; its keys and values begin at `at`.
    private func attention(
        _ query: [Double], _ size: (length: Int, padding: Int), _ keys: [Int: [Double]], _ values: [Int: [Double]],
        _ at: Int
    ) -> [Double] {
        var weights: [Double] = []
        for position in size.padding..<size.length {
            var score = 0.0
            for (d, q) in query.enumerated() { score += q * (keys[position]?[at + d] ?? 0) }
            weights.append(exp(score / Double(query.count).squareRoot()))
        }
        let sum = weights.reduce(0, +)
        var out = query.map { _ in 0.0 }
        for (weight, position) in zip(weights, size.padding..<size.length) {
            for d in out.indices { out[d] += weight / sum * (values[position]?[at + d] ?? 0) }
        }
        return out
    }

    private func turned(_ x: [Double], _ position: Int, _ headDim: Int, _ base: Double) -> [Double] {
        var out = x
        let half = headDim / 2
        for start in stride(from: 0, to: x.count, by: headDim) {
            for j in 0..<half {
                let angle = Double(position) * pow(base, -2 * Double(j) / Double(headDim))
                let (a, b) = (x[start + j], x[start + half + j])
                out[start + j] = a * cos(angle) - b * sin(angle)
                out[start + half + j] = b * cos(angle) + a * sin(angle)
            }
        }
        return out
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let (x, w) = (try numbers.tensor([1, 2, 5]), try numbers.tensor([4]))
        refuses(.shape) { _ = try $0.rmsNorm(x, weight: w, eps: 1e-5) }
        refuses(.shape) { _ = try $0.gated(x, .silu) }
        refuses(.internal) { _ = try $0.gatherRows(x, [2]) }
        for (length, padding, headDim) in [(4, 0, 3), (0, 0, 2), (4, 4, 2), (4, -1, 2), (4, 0, 2048)] {
            refuses(.shape) { run in
                _ = try PackedKeysValues(length: length, padding: padding, heads: 1, headDim: headDim, run)
            }
        }
        // Positions of another sequence, no memory for one, and rotary positions that end too early.
        for (lengths, rotary) in [([5], 5), ([4, 4], 4), ([], 4), ([4], 3)] {
            refuses(.internal) { run in
                let memory = [try PackedKeysValues(length: 4, padding: 0, heads: 1, headDim: 2, run)]
                let table = try RotaryTable(count: rotary, headDim: 2, base: 1e4, run)
                let sets = lengths.map { PositionSet(all: $0) }
                let rows = lengths.reduce(0, +)
                try run.store(run.workspace.take(Shape(1, rows, 4)), at: sets, in: memory, table)
            }
        }
    }
}

@Suite struct CategoricalTests {
    private let run = Run(pool: nil, budget: nil)

    private func softmax(_ x: [Double]) -> [Double] {
        let highest = x.max() ?? 0
        let e = x.map { exp($0 - highest) }
        return e.map { $0 / e.reduce(0, +) }
    }

    @Test(arguments: awkwardSizes + [700])
    func argmaxAndItsProbability(_ n: Int) throws {
        var numbers = Numbers(UInt64(n))
        let x = try numbers.tensor([1, 5, n], scale: 4)
        let choice = try run.gumbelArgmax(x, uniforms: nil, temperature: 0)
        for row in 0..<5 {
            let values = Array(x.doubles[(row * n)..<((row + 1) * n)])
            let token = values.firstIndex(of: values.max()!)!
            #expect(choice.categories[row] == token)
            #expect(abs(choice.scores[row] - softmax(values)[token]) < 1e-6)
        }
    }

    @Test func theLowestOfEqualsWins() throws {
        let x = try Tensor([1, 7, 7, 0, 7, -.infinity], Shape(1, 1, 6))
        #expect(try run.gumbelArgmax(x, uniforms: nil, temperature: 0).categories == [1])
        let race = try run.exponentialArgmax(
            x, exponentials: nil, temperature: 0, topP: 1, topK: 0, score: .margin)
        #expect(race.categories == [1])
        #expect(race.scores == [0])
    }

    @Test func whatIsNotFiniteIsAnError() throws {
        for bad in [Float.nan, .infinity] {
            let x = try Tensor([1, bad, 2], Shape(1, 1, 3))
            #expect(throws: DiffError.self) { _ = try run.gumbelArgmax(x, uniforms: nil, temperature: 0) }
            #expect(throws: DiffError.self) {
                _ = try run.exponentialArgmax(
                    x, exponentials: nil, temperature: 1, topP: 0.9, topK: 2, score: .entropy)
            }
        }
    }

    /// Against a plain sort: temperature, nucleus and candidates in every combination.
    @Test(arguments: [1, 2, 9, 40, 500], CategoricalScore.allCases)
    func cutsAreThoseOfASort(_ n: Int, _ score: CategoricalScore) throws {
        var numbers = Numbers(UInt64(n))
        for (temperature, topP, topK) in withEvery([0, 0.7, 2], [1, 0.9, 0.3], [0, 1, 3, 1000]) {
            let x = try numbers.tensor([1, 1, n], scale: 6)
            let noise = numbers.floats(n).map { abs($0) + 0.01 }
            var logits = x.doubles.map { temperature > 0 ? $0 / temperature : $0 }
            let order = logits.indices.sorted { logits[$0] > logits[$1] }
            if topP < 1 {
                let p = softmax(logits)
                var sum = 0.0
                for index in order {
                    if sum > topP { logits[index] = -.infinity }
                    sum += p[index]
                }
            }
            if topK > 0 { for index in order.dropFirst(topK) { logits[index] = -.infinity } }
            let p = softmax(logits)
            let token = p.indices.max { p[$0] / Double(noise[$0]) < p[$1] / Double(noise[$1]) }!
            let sorted = p.sorted(by: >)
            let want =
                switch score {
                case .probability: p[token]
                case .margin: sorted[0] - (sorted.count > 1 ? sorted[1] : 0)
                case .entropy: p.reduce(0) { $0 + ($1 > 0 ? $1 * log($1 + 1e-10) : 0) }
                }
            let choice = try noise.withUnsafeBufferPointer {
                try run.exponentialArgmax(
                    x, exponentials: $0.baseAddress, temperature: Float(temperature), topP: Float(topP), topK: topK,
                    score: score)
            }
            #expect(choice.categories == [token], "\(n) \(temperature) \(topP) \(topK)")
            #expect(abs(choice.scores[0] - want) < 1e-5, "\(n) \(temperature) \(topP) \(topK)")
        }
    }
}

import DiffTensor
import Foundation
import TestSupport
import Testing

/// The definition of each activation in double precision.
func reference(_ activation: Activation, _ u: Double) -> Double {
    switch activation {
    case .none: u
    case .geluTanh: 0.5 * u * (1 + tanh((2 / Double.pi).squareRoot() * (u + 0.044715 * u * u * u)))
    case .geluErf: 0.5 * u * (1 + erf(u / 2.0.squareRoot()))
    case .silu: u / (1 + exp(-u))
    case .geluQuick: u / (1 + exp(-1.702 * u))
    case .relu: max(u, 0)
    }
}

@Suite struct LinearOpTests {
    private func reference(_ x: Tensor, _ w: [Double], _ b: [Double]?, n: Int, _ activation: Activation) -> [Double] {
        let (values, k) = (x.doubles, x.shape.last)
        var out: [Double] = []
        for row in 0..<x.shape.rows {
            for column in 0..<n {
                var sum = b?[column] ?? 0
                for i in 0..<k { sum += values[row * k + i] * w[column * k + i] }
                out.append(DiffTensorTests.reference(activation, sum))
            }
        }
        return out
    }

    /// Rows around the change from streaming (8 and fewer) to tiles; sums of up to 33 terms of size 1 keep 33 · 6e-8.
    @Test(arguments: [1, 2, 7, 8, 9, 17], Activation.allCases)
    func linearIsTheMatrixProduct(_ rows: Int, _ activation: Activation) throws {
        var numbers = Numbers(UInt64(rows))
        for (k, n) in withEvery([1, 3, 8, 17, 33], [1, 2, 8, 15, 17]) {
            let (x, w) = (try numbers.tensor([rows, k]), try numbers.tensor([n, k]))
            let b = try numbers.tensor([n])
            for bias in [b, nil] {
                try check(
                    "linear \(rows) x \(k) x \(n)",
                    reference(x, w.doubles, bias?.doubles, n: n, activation), [rows, n], tolerance: 3e-6
                ) { run in try run.linear(x, WeightMatrix(w), bias: bias, activation: activation) }
            }
        }
    }

    @Test func leadingAxesAreKept() throws {
        var numbers = Numbers(5)
        let (x, w) = (try numbers.tensor([2, 3, 4, 6]), try numbers.tensor([5, 6]))
        try check("linear", reference(x, w.doubles, nil, n: 5, .none), [2, 3, 4, 5], tolerance: 1e-6) { run in
            try run.linear(x, WeightMatrix(w), bias: nil)
        }
    }

    /// A narrow weight counts as the f32 value it stands for: only the sum rounds.
    @Test(arguments: [DType.f16, .bf16], [1, 8, 9, 40])
    func narrowWeightsCountAsTheirValues(_ type: DType, _ rows: Int) throws {
        var numbers = Numbers(7)
        let (k, n) = (33, 17)
        let narrow = try numbers.narrow([n, k], type)
        let x = try numbers.tensor([rows, k])
        let wide = try narrow.widened(budget: nil)
        try check("linear", reference(x, wide.doubles, nil, n: n, .none), [rows, n], tolerance: 3e-6) { run in
            try run.linear(x, WeightMatrix(narrow), bias: nil)
        }
    }

    /// Packing moves weights and changes no result.
    @Test(arguments: [DType.f32, .f16, .bf16]) func packedWeightsGiveTheSameBits(_ type: DType) throws {
        var numbers = Numbers(8)
        for (rows, (k, n)) in withEvery([1, 5, 49], withEvery([3, 33, 400], [1, 17, 200])) {
            let x = try numbers.tensor([1, rows, k])
            let w = try WeightMatrix(type == .f32 ? numbers.tensor([n, k]) : numbers.narrow([n, k], type))
            let packed = try w.packed(budget: nil)
            #expect(packed.isPacked && packed.outputs == n && packed.inputs == k && packed.dtype == type)
            let run = Run(pool: nil, budget: nil)
            let plain = try run.linear(x, w, bias: nil).doubles
            #expect(try run.linear(x, packed, bias: nil).doubles == plain, "\(rows) x \(k) x \(n)")
        }
    }

    /// Quantised weights count as whole multiples of their scales, at most half a scale from what they were.
    @Test(arguments: [DType.f32, .f16, .bf16], [1, 5, 49])
    func quantisedWeightsAreNear(_ type: DType, _ rows: Int) throws {
        var numbers = Numbers(9)
        for (k, n) in withEvery([3, 33, 400], [1, 17, 200]) {
            let x = try numbers.tensor([1, rows, k])
            let w = try type == .f32 ? numbers.tensor([n, k]) : numbers.narrow([n, k], type)
            let quantised = try WeightMatrix(w).quantised(budget: nil)
            #expect(quantised.isPacked && quantised.outputs == n && quantised.dtype == .int8)
            let wide = try w.widened(budget: nil).doubles
            var near: [Double] = []
            for row in stride(from: 0, to: n * k, by: k) {
                let scale = Double(Float(wide[row..<row + k].map(abs).max() ?? 0) / 127)
                near += wide[row..<row + k].map {
                    Double((Float($0) / Float(scale)).rounded(.toNearestOrEven)) * scale
                }
            }
            try check(
                "linear \(rows) x \(k) x \(n)", reference(x, near, nil, n: n, .none), [1, rows, n], tolerance: 3e-6
            ) { try $0.linear(x, quantised, bias: nil) }
        }
    }

    @Test func quantisingIsChargedAndRefusedWhereItMeansNothing() throws {
        var numbers = Numbers(10)
        let w = try WeightMatrix(numbers.tensor([17, 100]))
        let budget = try MemoryBudget()
        let quantised = try w.quantised(budget: budget)
        #expect(budget.used == 32 * 100 + 17 * 4)  // whole strips of 16 outputs, and the scales
        #expect(throws: DiffError.self) { _ = try quantised.quantised(budget: nil) }
        let small = try MemoryBudget(limit: 3200)
        #expect(throws: DiffError.self) { _ = try w.quantised(budget: small) }
        #expect(small.used == 0)
        #expect(try WeightMatrix(Tensor([], Shape(0, 3))).quantised(budget: nil).outputs == 0)
        refuses(.internal) { _ in _ = try numbers.tensor([4]).narrowed(to: .int8, budget: nil) }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let (x, w) = (try numbers.tensor([2, 3]), try numbers.tensor([4, 5]))
        let bias = try numbers.tensor([3])
        let good = try numbers.tensor([4, 3])
        let flat = try numbers.tensor([12])
        refuses(.shape) { _ = try $0.linear(x, WeightMatrix(w), bias: nil) }
        refuses(.shape) { _ = try $0.linear(x, WeightMatrix(good), bias: bias) }
        refuses(.shape) { _ = try $0.linear(x, WeightMatrix(flat), bias: nil) }
        refuses(.internal) { _ = try $0.linear(x, WeightMatrix(good).packed(budget: nil), bias: nil) }
        refuses(.internal) { _ in _ = try WeightMatrix(good).packed(budget: nil).outputs(0, 1) }
    }
}

@Suite struct AttentionOpTests {
    private func reference(_ q: [Double], _ k: [Double], _ v: [Double], b: Int, t: Int, s: Int, h: Int, d: Int)
        -> [Double]
    {
        var out = [Double](repeating: 0, count: b * t * h * d)
        let width = h * d
        for batch in 0..<b {
            for head in 0..<h {
                for row in 0..<t {
                    let scores = (0..<s).map { column in
                        (0..<d).reduce(0.0) {
                            $0 + q[(batch * t + row) * width + head * d + $1]
                                * k[(batch * s + column) * width + head * d + $1]
                        } / Double(d).squareRoot()
                    }
                    let top = scores.max() ?? 0
                    let weights = scores.map { exp($0 - top) }
                    let sum = weights.reduce(0, +)
                    for i in 0..<d {
                        out[(batch * t + row) * width + head * d + i] =
                            (0..<s).reduce(0.0) { $0 + weights[$1] * v[(batch * s + $1) * width + head * d + i] } / sum
                    }
                }
            }
        }
        return out
    }

    /// exp of scores of size up to 4 amplifies their rounding error; outputs are averages of values of size 1.
    @Test(arguments: [1, 2, 9, 33], [1, 3, 16, 65])
    func attentionIsTheSoftmaxWeightedMean(_ queries: Int, _ keys: Int) throws {
        var numbers = Numbers(UInt64(queries * 100 + keys))
        for (heads, dim) in withEvery([1, 3], [1, 8, 12, 72]) {
            let q = try numbers.tensor([2, queries, heads * dim], scale: 2)
            let k = try numbers.tensor([2, keys, heads * dim], scale: 2)
            let v = try numbers.tensor([2, keys, heads * dim])
            try check(
                "attention \(queries) x \(keys), \(heads) heads of \(dim)",
                reference(q.doubles, k.doubles, v.doubles, b: 2, t: queries, s: keys, h: heads, d: dim),
                [2, queries, heads * dim], tolerance: 1e-5
            ) { run in try run.denseAttention(AttentionRows(q), AttentionRows(k), AttentionRows(v), heads: heads) }
        }
    }

    @Test func aFusedProjectionIsReadInPlace() throws {
        var numbers = Numbers(3)
        let (b, t, heads, dim) = (2, 5, 2, 4)
        let qkv = try numbers.tensor([b, t, 3 * heads * dim])
        let all = qkv.doubles
        func part(_ which: Int) -> [Double] {
            (0..<b * t).flatMap { row in (0..<heads * dim).map { all[row * 3 * heads * dim + which * heads * dim + $0] }
            }
        }
        try check(
            "attention", reference(part(0), part(1), part(2), b: b, t: t, s: t, h: heads, d: dim), [b, t, heads * dim],
            tolerance: 1e-5
        ) { run in
            let call = try AttentionCall(site: Site.first, qkv: qkv, heads: heads)
            return try run.attention(call)
        }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let (a, b) = (try numbers.tensor([1, 2, 6]), try numbers.tensor([2, 2, 6]))
        let flat = try numbers.tensor([2, 6])
        refuses(.shape) { _ = try $0.denseAttention(AttentionRows(a), AttentionRows(a), AttentionRows(a), heads: 4) }
        refuses(.shape) { _ = try $0.denseAttention(AttentionRows(a), AttentionRows(a), AttentionRows(a), heads: 0) }
        refuses(.shape) { _ = try $0.denseAttention(AttentionRows(a), AttentionRows(b), AttentionRows(b), heads: 2) }
        refuses(.shape) { _ in _ = try AttentionRows(flat) }
        refuses(.shape) { _ in _ = try AttentionRows(a, part: 3, of: 3) }
        refuses(.shape) { _ in _ = try AttentionRows(a, part: 0, of: 4) }
    }
}

extension Site {
    /// A site of a layout made for the purpose.
    static var first: Site {
        var layout = SiteLayout(family: "test")
        return layout.add("attn", .attention)
    }
}

extension Numbers {
    /// Random values rounded to `type`.
    mutating func narrow(_ dims: [Int], _ type: DType) throws -> Tensor {
        let shape = try Shape(dims)
        let block = try Storage(byteCount: shape.count * 2, budget: nil)
        let bits = floats(shape.count).map { type == .f16 ? halfBits($0) : UInt16($0.bitPattern >> 16) }
        block.base?.copyMemory(from: bits, byteCount: bits.count * 2)
        return try Tensor(block, shape, type)
    }
}

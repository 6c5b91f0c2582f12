import DiffTensor
import Foundation
import TestSupport
import Testing

/// Declared patterns against their definition in double precision.
@Suite struct AttentionPatternTests {
    /// softmax over the keys that `seen` lists for a query, in order, of the products plus `bias`.
    func reference(
        _ q: [Double], _ k: [Double], _ v: [Double], queries: Int, keys: Int, heads: Int, dim: Int,
        scale: Double? = nil,
        bias: (Int, Int) -> Double = { _, _ in 0 }, seen: (Int) -> [Int]
    ) -> [Double] {
        let (width, scale) = (heads * dim, scale ?? 1 / Double(dim).squareRoot())
        var out = [Double](repeating: 0, count: q.count)
        for (b, h, n) in withEvery(Array(0..<q.count / queries / width), Array(0..<heads), Array(0..<queries)) {
            let (row, list) = ((b * queries + n) * width + h * dim, seen(n))
            let mean = attended(
                q, at: row, to: k, v, at: list.map { (b * keys + $0) * width + h * dim }, dim: dim, scale: scale,
                bias: list.map { bias(b, $0) })
            for d in 0..<dim { out[row + d] = mean[d] }
        }
        return out
    }

    /// Parts of a fused projection.
    func parts(_ qkv: Tensor) -> [[Double]] {
        let (all, width) = (qkv.doubles, qkv.shape.last / 3)
        return (0..<3).map { part in
            (0..<all.count / 3).map { all[$0 / width * 3 * width + part * width + $0 % width] }
        }
    }

    /// Any bias by distance and head, one for all heads, hidden keys, and a key mask beside it.
    @Test(arguments: [1, 2, 17, 77, 150], [(1, 8), (3, 5), (2, 64)])
    func distancesAreAddedToTheProducts(_ tokens: Int, _ sizes: (heads: Int, dim: Int)) throws {
        var numbers = Numbers(UInt64(tokens))
        let (heads, dim) = sizes
        let qkv = try numbers.tensor([2, tokens, 3 * heads * dim], scale: 2)
        let rows = parts(qkv)
        for (rowsOfTable, isMasked) in withEvery([1, heads], [false, true]) {
            let table = try numbers.tensor([rowsOfTable, 2 * tokens - 1], scale: 3)
            let mask: [Float] = (0..<2 * tokens).map { $0 % tokens == 0 || $0 % 3 != 0 ? 1 : 0 }
            let shown = isMasked ? KeyMask.visible(try Tensor(mask, Shape(2, tokens))) : nil
            let call = try AttentionCall(
                site: Site.first, qkv: qkv, heads: heads, scale: 0.5, distances: DistanceBias(table, mask: shown))
            let values = table.doubles
            var expected = [Double](repeating: 0, count: rows[0].count)
            for head in 0..<heads {
                let start = (rowsOfTable == 1 ? 0 : head) * (2 * tokens - 1) + tokens - 1
                // Only this head's part of the result is taken, so its bias may stand for all.
                let one = distanceReference(rows, tokens, heads, dim) {
                    values[start + $1 - $0]
                } seen: { b, m in
                    !isMasked || mask[b * tokens + m] == 1
                }
                for index in expected.indices where index / dim % heads == head { expected[index] = one[index] }
            }
            try check("distances", expected, [2, tokens, heads * dim], tolerance: 2e-5) { run throws(DiffError) in
                try run.attention(call)
            }
        }
    }

    private func distanceReference(
        _ rows: [[Double]], _ tokens: Int, _ heads: Int, _ dim: Int, bias: (Int, Int) -> Double,
        seen: (Int, Int) -> Bool
    ) -> [Double] {
        let width = heads * dim
        var out = [Double](repeating: 0, count: rows[0].count)
        for (b, h, n) in withEvery(Array(0..<2), Array(0..<heads), Array(0..<tokens)) {
            let row = (b * tokens + n) * width + h * dim
            let keys = (0..<tokens).filter { seen(b, $0) }
            let mean = attended(
                rows[0], at: row, to: rows[1], rows[2], at: keys.map { (b * tokens + $0) * width + h * dim }, dim: dim,
                scale: 0.5, bias: keys.map { bias(n, $0) })
            for d in 0..<dim { out[row + d] = mean[d] }
        }
        return out
    }

    /// A causal attention has the numbers of one in which each query has its own span of keys.
    @Test(arguments: [1, 5, 77, 130])
    func causalQueriesSeeWhatStandsBefore(_ tokens: Int) throws {
        var numbers = Numbers(UInt64(tokens))
        let qkv = try numbers.tensor([2, tokens, 3 * 24], scale: 2)
        let run = Run(pool: nil, budget: nil)
        let spans = (0..<tokens).map { AttentionSpan(first: $0, count: 1, keys: $0 + 1) }
        let expected = try run.attention(
            AttentionCall(site: Site.first, qkv: qkv, heads: 3, scale: 1 / Float(8).squareRoot(), spans: spans))
        try check("causal", expected.doubles, [2, tokens, 24], tolerance: 2e-6) { run throws(DiffError) in
            try run.attention(
                AttentionCall(site: Site.first, qkv: qkv, heads: 3, distances: .causal(tokens, run)))
        }
    }

    @Test func distancesOfOtherSizesAreRefused() throws {
        var numbers = Numbers(1)
        let qkv = try numbers.tensor([1, 4, 24])
        for dims in [[7], [2, 7], [1, 8], [1, 6], [4, 7]] {
            let call = try AttentionCall(
                site: Site.first, qkv: qkv, heads: 3, distances: DistanceBias(try numbers.tensor(dims)))
            #expect(throws: DiffError.self) { try Run(pool: nil, budget: nil).attention(call) }
        }
    }

    /// A bias by distance between more tokens than dense attention takes at once.
    @Test func distancesCountAmongManyTokensToo() throws {
        let (tokens, dim) = (1600, 4)
        var numbers = Numbers(3)
        let qkv = try numbers.tensor([1, tokens, 3 * dim], scale: 2)
        let rows = parts(qkv)
        let table = try numbers.tensor([1, 2 * tokens - 1], scale: 3)
        let values = table.doubles
        let call = try AttentionCall(site: Site.first, qkv: qkv, heads: 1, distances: DistanceBias(table))
        let found = try Run(pool: nil, budget: nil).attention(call).array
        for n in [0, 799, 1599] {
            let scores = (0..<tokens).map { m in
                0.5 * (0..<dim).reduce(0.0) { $0 + rows[0][n * dim + $1] * rows[1][m * dim + $1] }
                    + values[tokens - 1 + m - n]
            }
            let weights = scores.map { exp($0 - (scores.max() ?? 0)) }
            let sum = weights.reduce(0, +)
            for d in 0..<dim {
                let expected = (0..<tokens).reduce(0.0) { $0 + weights[$1] * rows[2][$1 * dim + d] / sum }
                #expect(abs(Double(found[n * dim + d]) - expected) < 1e-5)
            }
        }
    }

    @Test(arguments: [1, 9, 130], [1, 2, 17, 77]) func maskedKeysHaveNoWeight(_ queries: Int, _ keys: Int) throws {
        var numbers = Numbers(UInt64(queries * 100 + keys))
        let (heads, dim, width) = (2, 12, 24)
        let (q, context) = (
            try numbers.tensor([2, queries, width], scale: 2), try numbers.tensor([2, keys, 2 * width])
        )
        let both = context.doubles
        let (k, v) = (
            (0..<2 * keys * width).map { both[$0 / width * 2 * width + $0 % width] },
            (0..<2 * keys * width).map { both[$0 / width * 2 * width + width + $0 % width] }
        )
        let bias = try numbers.tensor([2, keys], scale: 3)
        // The first sample sees every second key, the second one only its last.
        let visible = (0..<2 * keys).map { Float($0 < keys ? ($0 % 2 == 0 ? 1 : 0) : ($0 == 2 * keys - 1 ? 1 : 0)) }
        let hiding = zip(visible, bias.array).map { $0 == 1 ? $1 : -.infinity }
        let masks: [(KeyMask?, [Double])] = [
            (nil, [Double](repeating: 0, count: 2 * keys)),
            (.bias(bias), bias.doubles),
            (.visible(try Tensor(visible, Shape(2, keys))), visible.map { $0 == 1 ? 0 : -.infinity }),
            (.bias(try Tensor(hiding, Shape(2, keys))), hiding.map(Double.init)),
        ]
        for (scale, (mask, added)) in withEvery([nil, 0.7] as [Double?], masks) {
            let expected = reference(
                q.doubles, k, v, queries: queries, keys: keys, heads: heads, dim: dim, scale: scale,
                bias: { added[$0 * keys + $1] }
            ) { _ in Array(0..<keys) }
            let call = try AttentionCall(
                site: Site.first, queries: q, keys: AttentionRows(context, part: 0, of: 2),
                values: AttentionRows(context, part: 1, of: 2), heads: heads, scale: scale.map { Float($0) }, mask: mask
            )
            #expect(!call.isSelfAttention)
            try check("\(keys) keys", expected, [2, queries, width], tolerance: 1e-5) { try $0.attention(call) }
        }
    }

    @Test func whatCannotBeSeenIsRefused() throws {
        var numbers = Numbers(1)
        let qkv = try numbers.tensor([1, 6, 24])
        for (code, groups) in [
            (.shape, AttentionGroups(count: 4)), (.shape, AttentionGroups(count: 0)),
            (.shape, AttentionGroups(count: -2)),
            (.invalidArgument, AttentionGroups(count: 2, seesOwnKeys: false)),
            (.invalidArgument, AttentionGroups(count: 2, window: -1)),
            (.invalidArgument, AttentionGroups(count: 2, shared: [6])),
            (.invalidArgument, AttentionGroups(count: 2, shared: [0, -1])),
        ] as [(DiffError.Code, AttentionGroups)] {
            refuses(code) { _ = try $0.attention(grouped(qkv, heads: 2, groups)) }
        }
        refuses(.unsupported) {
            var call = try AttentionCall(site: Site.first, qkv: qkv, heads: 2, gridWidth: 5, prefix: 1)
            call.pattern = .groups(AttentionGroups(count: 2))
            _ = try $0.attention(call)
        }
        let context = try AttentionRows(numbers.tensor([1, 6, 8]))
        func cross(_ mask: Tensor) throws -> AttentionCall {
            try AttentionCall(
                site: Site.first, queries: numbers.tensor([1, 6, 8]), keys: context, values: context, heads: 2,
                mask: .bias(mask))
        }
        refuses(.unsupported) {
            var call = try cross(numbers.tensor([1, 6]))
            call.pattern = .groups(AttentionGroups(count: 2))
            _ = try $0.attention(call)
        }
        refuses(.shape) { _ = try $0.attention(cross(numbers.tensor([1, 5]))) }
        refuses(.shape) { _ = try $0.attention(cross(numbers.tensor([2, 6]))) }
        for values in [-Float.infinity, .nan, .infinity] {
            let mask = try Tensor([Float](repeating: values, count: 6), Shape(1, 6))
            do {
                _ = try Run(pool: nil, budget: nil).attention(cross(mask))
                Issue.record("a mask of \(values) was taken")
            } catch { #expect((error as? DiffError)?.code == .invalidArgument) }
        }
    }
    /// Dense attention and spans have gradients; what has none says so by name, and what to do.
    @Test func learningThroughTheOtherPatternsIsRefused() throws {
        var numbers = Numbers(9)
        let (qkv, mask) = (try numbers.tensor([1, 6, 24]), try numbers.tensor([1, 6]))
        for pattern in [.groups(AttentionGroups(count: 2, shared: [1])), .masked(.bias(mask))] as [AttentionPattern] {
            let parameters = Parameters()
            var call = try AttentionCall(
                site: Site.first, qkv: parameters.add(["x"], qkv, trained: true), heads: 2)
            call.pattern = pattern
            let tape = Tape(try ParameterGradients(parameters, budget: nil))
            do {
                let run = Run(pool: nil, budget: nil)
                _ = try run.recording(tape) { () throws(DiffError) in try run.attention(call) }
                Issue.record("a gradient was promised")
            } catch {
                #expect(error.code == .unsupported && error.message.contains("learn with"), "\(error)")
            }
        }
    }
}

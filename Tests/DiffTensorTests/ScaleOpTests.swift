import DiffTensor
import Foundation
import TestSupport
import Testing

/// Ops of generation scale by scale, against references in double precision.
@Suite struct ScaleOpTests {
    // MARK: Resampling

    private func cubicWeight(_ distance: Double) -> Double {
        let (a, d) = (-0.75, abs(distance))
        if d <= 1 { return (a + 2) * d * d * d - (a + 3) * d * d + 1 }
        return d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0
    }

    @Test(arguments: [1, 2, 3, 5, 8, 13], [1, 2, 4, 7, 16])
    func bicubicIsASumOfFourTapsEachWay(_ from: Int, _ to: Int) throws {
        var numbers = Numbers(UInt64(from * 100 + to))
        let x = try numbers.tensor([2, 3, from, from])
        let values = x.doubles
        let expected = withEvery(Array(0..<6), Array(0..<to), Array(0..<to)).map { plane, y, column in
            func taps(_ i: Int) -> [(Int, Double)] {
                let s = (Double(i) + 0.5) * Double(from) / Double(to) - 0.5
                return (-1...2).map { k in
                    (min(max(Int(s.rounded(.down)) + k, 0), from - 1), cubicWeight(s - s.rounded(.down) - Double(k)))
                }
            }
            return taps(y).reduce(0.0) { sum, row in
                sum + taps(column).reduce(0.0) { $0 + row.1 * $1.1 * values[(plane * from + row.0) * from + $1.0] }
            }
        }
        try check("bicubic", expected, [2, 3, to, to], tolerance: 2e-5) { run in
            try run.resampledBicubic(x, side: to)
        }
    }

    @Test(arguments: [1, 2, 3, 5, 8, 16], [1, 2, 3, 5, 8, 16])
    func areasAreMeansThatMayOverlap(_ from: Int, _ to: Int) throws {
        var numbers = Numbers(UInt64(from * 100 + to))
        let x = try numbers.tensor([2, 2, from, from])
        let values = x.doubles
        func range(_ i: Int) -> Range<Int> { i * from / to..<((i + 1) * from + to - 1) / to }
        let expected = withEvery(Array(0..<4), Array(0..<to), Array(0..<to)).map { plane, y, column in
            let window = withEvery(Array(range(y)), Array(range(column)))
            return window.reduce(0.0) { $0 + values[(plane * from + $1.0) * from + $1.1] } / Double(window.count)
        }
        try check("area", expected, [2, 2, to, to], tolerance: 1e-6) { run in try run.resampledArea(x, side: to) }
    }

    @Test func planesThatAreNotSquareAreRefused() throws {
        let x = try Tensor([Float](repeating: 0, count: 6), Shape(1, 1, 2, 3))
        refuses(.shape) { _ = try $0.resampledBicubic(x, side: 4) }
        refuses(.shape) { _ = try $0.resampledArea(x, side: 4) }
        let square = try Tensor([Float](repeating: 0, count: 4), Shape(1, 1, 2, 2))
        refuses(.shape) { _ = try $0.resampledArea(square, side: 0) }
    }

    // MARK: Heads

    @Test(arguments: [false, true], [(1, 1, 4), (2, 3, 5), (3, 4, 64)])
    func headsAreSplitNormalisedAndStored(_ normalised: Bool, _ size: (tokens: Int, heads: Int, dim: Int)) throws {
        let (batch, tokens, heads, dim) = (2, size.tokens, size.heads, size.dim)
        let width = heads * dim
        var numbers = Numbers(4)
        let qkv = try numbers.tensor([batch, tokens, 3 * width])
        let scales = normalised ? try numbers.tensor([heads], around: 3) : nil
        let values = qkv.doubles
        func head(_ row: Int, _ part: Int, _ h: Int, _ factor: Double) -> [Double] {
            let at = row * 3 * width + part * width + h * dim
            let raw = Array(values[at..<at + dim])
            guard normalised else { return raw }
            let length = max(raw.reduce(0) { $0 + $1 * $1 }.squareRoot(), 1e-12)
            return raw.map { $0 / length * factor }
        }
        let queries = withEvery(Array(0..<batch * tokens), Array(0..<heads)).flatMap { row, h in
            head(row, 0, h, scales.map { Double($0.array[h]) } ?? 1)
        }
        let position = 2
        try check("queries", queries, [batch, tokens, width], tolerance: 1e-6) { run in
            let cache = try KeyValueBuffer(batch: batch, capacity: tokens + 3, width: width, run)
            return try run.splitHeads(qkv, heads: heads, scales: scales, into: cache, at: position)
        }
        let keys = withEvery(Array(0..<batch * tokens), Array(0..<heads)).flatMap { row, h in head(row, 1, h, 1) }
        try check("keys", keys, [batch, tokens, width], tolerance: 1e-6) { run in
            let cache = try KeyValueBuffer(batch: batch, capacity: tokens + 3, width: width, run)
            _ = try run.splitHeads(qkv, heads: heads, scales: scales, into: cache, at: position)
            return try run.tokens(cache.keys, position, tokens)
        }
        let plain = withEvery(Array(0..<batch * tokens), Array(0..<width)).map { row, i in
            values[row * 3 * width + 2 * width + i]
        }
        try check("values", plain, [batch, tokens, width], tolerance: 0) { run in
            let cache = try KeyValueBuffer(batch: batch, capacity: tokens + 3, width: width, run)
            _ = try run.splitHeads(qkv, heads: heads, scales: scales, into: cache, at: position)
            return try run.tokens(cache.values, position, tokens)
        }
        refuses(.shape) { run in
            let cache = try KeyValueBuffer(batch: batch, capacity: tokens + 3, width: width, run)
            _ = try run.splitHeads(qkv, heads: heads, scales: scales, into: cache, at: 4)
        }
    }

    @Test func spansAreAttentionUnderABlockMask() throws {
        let (batch, heads, dim, lengths) = (2, 2, 8, [1, 4, 9])
        let (tokens, width) = (14, 16)
        var numbers = Numbers(8)
        let (q, k, v) = (
            try numbers.tensor([batch, tokens, width]), try numbers.tensor([batch, tokens + 2, width]),
            try numbers.tensor([batch, tokens + 2, width])
        )
        let level = lengths.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }
        let (qs, ks, vs) = (q.doubles, k.doubles, v.doubles)
        let scale = 0.7
        var expected = [Double](repeating: 0, count: batch * tokens * width)
        for (b, h, i) in withEvery(Array(0..<batch), Array(0..<heads), Array(0..<tokens)) {
            let seen = (0..<tokens).filter { level[$0] <= level[i] }
            func at(_ row: Int, _ all: Int) -> Int { (b * all + row) * width + h * dim }
            let scores = seen.map { j in
                exp(scale * (0..<dim).reduce(0.0) { $0 + qs[at(i, tokens) + $1] * ks[at(j, tokens + 2) + $1] })
            }
            let sum = scores.reduce(0, +)
            for d in 0..<dim {
                expected[at(i, tokens) + d] =
                    zip(seen, scores).reduce(0.0) { $0 + $1.1 * vs[at($1.0, tokens + 2) + d] } / sum
            }
        }
        var spans: [AttentionSpan] = []
        for length in lengths {
            let first = spans.last.map { $0.first + $0.count } ?? 0
            spans.append(AttentionSpan(first: first, count: length, keys: first + length))
        }
        let all = spans
        try check("spans", expected, [batch, tokens, width], tolerance: 1e-5) { run in
            try run.spannedAttention(
                AttentionRows(q), AttentionRows(k), AttentionRows(v), heads: heads, scale: Float(scale), spans: all)
        }
        refuses(.internal) { run in
            _ = try run.spannedAttention(
                AttentionRows(q), AttentionRows(k), AttentionRows(v), heads: heads, scale: 1,
                spans: Array(all.dropLast()))
        }
        refuses(.shape) { run in
            let long = [AttentionSpan(first: 0, count: tokens, keys: tokens + 3)]
            _ = try run.spannedAttention(
                AttentionRows(q), AttentionRows(k), AttentionRows(v), heads: heads, scale: 1, spans: long)
        }
    }
}

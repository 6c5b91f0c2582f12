import DiffTensor
import Foundation
import TestSupport
import Testing

/// How codes of a scale are chosen, and what becomes of them, against references in double precision.
@Suite struct ScaleDrawTests {
    /// Sorts, sums and cuts as the published code's text says.
    private func reference(_ row: [Double], _ t: Truncation) -> [Double] {
        var row = row
        if t.topK > 0, t.topK < row.count {
            let threshold = row.sorted(by: >)[t.topK - 1]
            row = row.map { $0 < threshold ? -.infinity : $0 }
        }
        if t.topP > 0 {
            let order = row.indices.sorted { (row[$0], $0) < (row[$1], $1) }
            let largest = row.max() ?? 0
            let sum = row.reduce(0) { $0 + exp($1 - largest) }
            var cumulative = 0.0
            for index in order.dropLast() {
                cumulative += exp(row[index] - largest) / sum
                if cumulative <= 1 - t.topP { row[index] = -.infinity }
            }
        }
        return row.map { $0 / Double(t.temperature) }
    }

    @Test(arguments: [0, 1, 3, 40, 1000], [0, 0.3, 0.9, 0.999, 1])
    func candidatesAreDroppedAsThePublishedCodeDoes(_ topK: Int, _ topP: Double) throws {
        for (width, temperature) in [(1, Float(1)), (7, 1.3), (41, 0.5), (300, 1)] {
            var numbers = Numbers(UInt64(topK + width))
            let x = try numbers.tensor([5, width], scale: 4)
            let truncation = Truncation(topK: topK, topP: topP, temperature: temperature)
            let values = x.doubles
            let expected = (0..<5).map { reference(Array(values[$0 * width..<($0 + 1) * width]), truncation) }
            for threads in [1, 2] {
                let run = Run(pool: try WorkerPool(threads: threads), budget: nil)
                let found = try run.truncated(x, truncation)
                let rows = found.logits.doubles
                for (index, want) in expected.enumerated() {
                    let row = rows[index * width..<(index + 1) * width]
                    for (a, b) in zip(row, want) {
                        #expect(a == b || abs(a - b) <= 1e-5, "top_k \(topK), top_p \(topP), width \(width)")
                    }
                    #expect(found.kept[index] == want.count { $0 > -.infinity })
                }
            }
        }
    }

    @Test func equalLogitsStayTogetherAtTheThreshold() throws {
        let run = Run(pool: nil, budget: nil)
        let x = try Tensor([1, 3, 2, 3, 2, 0], Shape(1, 6))
        #expect(try run.truncated(x, Truncation(topK: 3)).kept == [4])
        #expect(try run.truncated(x, Truncation(topK: 1)).kept == [2])
        #expect(try run.truncated(x, Truncation(topP: 1e-9)).kept == [1], "the largest always stays")
    }

    @Test func aRaceAndAnInverseDrawWhatTheyShould() throws {
        var numbers = Numbers(6)
        let (rows, width) = (40, 17)
        let x = try numbers.tensor([rows, width], scale: 3)
        let times = try Tensor(numbers.floats(rows * width).map { -log(abs($0) + 1e-6) + 1e-6 }, Shape(rows, width))
        let uniforms = try Tensor(numbers.floats(rows).map { ($0 + 1) / 2 }, Shape(rows))
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let logits = try run.truncated(x, Truncation(topK: 9)).logits
        let race = try run.racing(logits, times: times)
        let inverse = try run.inverting(logits, uniforms: uniforms)
        for row in 0..<rows {
            let z = logits.doubles[row * width..<(row + 1) * width].map { exp($0) }
            let sum = z.reduce(0, +)
            let speeds = zip(z, times.doubles[row * width..<(row + 1) * width]).map { $0 / $1 }
            #expect(race[row] == speeds.indices.max { speeds[$0] < speeds[$1] })
            var cumulative = 0.0
            let first = z.indices.first { i in
                cumulative += z[i] / sum
                return cumulative > uniforms.doubles[row]
            }
            #expect(inverse[row] == first)
            #expect(z[race[row]] > 0 && z[inverse[row]] > 0, "only what was left is drawn")
        }
        refuses(.shape) { _ = try $0.racing(x, times: uniforms) }
        refuses(.shape) { _ = try $0.inverting(x, uniforms: times) }
        #expect(try Run(dryOn: 1).racing(x, times: times) == [Int](repeating: 0, count: rows))
    }

    @Test func notANumberEndsNoSearch() throws {
        let run = Run(pool: nil, budget: nil)
        let x = try Tensor([.nan, 1, .nan, .infinity, -.infinity, 2], Shape(1, 6))
        for truncation in [Truncation(topK: 2), Truncation(topP: 0.5), Truncation(topK: 3, topP: 0.5, temperature: 2)] {
            let logits = try run.truncated(x, truncation).logits
            let times = try Tensor([Float](repeating: 1, count: 6), Shape(1, 6))
            #expect(try (0..<6).contains(run.racing(logits, times: times)[0]))
            #expect(try (0..<6).contains(run.inverting(logits, uniforms: Tensor([0.5], Shape(1)))[0]))
        }
    }

    @Test func mixturesAreSoftmaxOfNoisyLogits() throws {
        var numbers = Numbers(12)
        let x = try numbers.tensor([4, 23], scale: 2)
        let e = try Tensor(numbers.floats(92).map { abs($0) + 0.01 }, Shape(4, 23))
        let expected = (0..<4).flatMap { row in
            let z = (0..<23).map { (1.3 * x.doubles[row * 23 + $0] - log(e.doubles[row * 23 + $0])) / 0.2 }
            let largest = z.max() ?? 0
            let sum = z.reduce(0) { $0 + exp($1 - largest) }
            return z.map { exp($0 - largest) / sum }
        }
        try check("mixtures", expected, [4, 23], tolerance: 1e-5) { run in
            try run.gumbelWeights(x, times: e, sharpness: 1.3, tau: 0.2)
        }
    }

    @Test func theNearestRowIsFound() throws {
        var numbers = Numbers(13)
        let (x, table) = (try numbers.tensor([3, 5, 8]), try numbers.tensor([50, 8]))
        let norms = try Tensor(
            (0..<50).map { row in table.array[row * 8..<row * 8 + 8].reduce(0) { $0 + $1 * $1 } }, Shape(50))
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let found = try run.nearestRows(x, in: table, norms: norms)
        for row in 0..<15 {
            let distances = (0..<50).map { code in
                (0..<8).reduce(0.0) {
                    let d = x.doubles[row * 8 + $1] - table.doubles[code * 8 + $1]
                    return $0 + d * d
                }
            }
            #expect(found[row] == distances.indices.min { distances[$0] < distances[$1] })
        }
        refuses(.shape) { _ = try $0.nearestRows(x, in: table, norms: table) }
    }

    @Test func levelsAreCutNotRounded() throws {
        let x = try Tensor([-2, -1, -0.999, 0, 0.5, 0.9999, 1, 3], Shape(8))
        let expected = x.doubles.map { ((min(max($0, -1), 1) + 1) / 2 * 255).rounded(.down) }
        try check("levels", expected, [8], tolerance: 0) { run in try run.flooredLevels(x) }
    }

    @Test func exponentialTimesAreTorchs() throws {
        // torch.manual_seed(42); torch.empty(8).exponential_()
        let expected: [Float] = [
            0.05991402, 0.06497613, 0.13191678, 0.05401295, 0.7469107, 0.64776236, 3.1063442, 2.6415968,
        ]
        var generator = TorchRandom(seed: 42)
        let run = Run(pool: nil, budget: nil)
        let all = try run.exponentialTimes(for: Tensor([Float](repeating: 0, count: 8), Shape(1, 8)), &generator)
        #expect(zip(all.array, expected).allSatisfy { abs($0 - $1) <= 1e-6 * $1 })
        // What is not wanted is drawn all the same: the others do not move.
        var again = TorchRandom(seed: 42)
        let mask: [Float] = [0, -.infinity, 0, 0, -.infinity, 0, 0, 0]
        let some = try run.exponentialTimes(for: Tensor(mask, Shape(1, 8)), &again)
        #expect(zip(zip(some.array, all.array), mask).allSatisfy { $1 == 0 ? $0.0 == $0.1 : $0.0 == 1 })
        #expect(again.next32() == generator.next32())
    }

    /// Many at once are what single draws give, also where a pair of words lies on both sides of a twist.
    @Test func exponentialTimesAcrossTwists() throws {
        for odd in [false, true] {
            var generator = TorchRandom(seed: 7)
            if odd { _ = generator.next32() }
            var single = generator
            let run = Run(pool: nil, budget: nil)
            let shape = try Shape(1, 1500)
            let times = try run.exponentialTimes(
                for: Tensor([Float](repeating: 0, count: shape.count), shape), &generator)
            let expected = (0..<shape.count).map { _ in
                Float(-log1p(-Double(single.next64() & 0x1f_ffff_ffff_ffff) * 0x1p-53))
            }
            #expect(times.array == expected)
            #expect(generator.next32() == single.next32())
        }
    }
}

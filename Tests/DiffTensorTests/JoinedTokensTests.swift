import DiffTensor
import Foundation
import TestSupport
import Testing

/// Projections that are written into joined tokens and read from them, and what is done to the latents of autoencoders.
@Suite struct JoinedTokensTests {
    private func run(_ threads: Int = 2) throws -> Run { Run(pool: try WorkerPool(threads: threads), budget: nil) }

    /// Both are plain products of the tokens, bit for bit, packed or not.
    @Test(arguments: [(1, 1), (5, 3), (70, 9)], [true, false])
    func projectionsAreThoseOfTheTokensAlone(_ tokens: (Int, Int), _ packs: Bool) throws {
        let (first, second) = tokens
        let (inputs, outputs) = (24, 36)
        var numbers = Numbers(UInt64(first))
        let (x, y) = (try numbers.tensor([2, first, inputs]), try numbers.tensor([2, second, inputs]))
        var weight = try WeightMatrix(numbers.tensor([outputs, inputs]))
        if packs { weight = try weight.packed(budget: nil) }
        let bias = try numbers.tensor([outputs])
        let run = try run()
        let (a, b) = (try run.linear(x, weight, bias: bias), try run.linear(y, weight, bias: bias))
        let expected = try run.joinedTokens(a, b)
        let joined = try run.workspace.take(Shape(2, first + second, outputs))
        try run.linear(x, weight, bias: bias, into: joined, at: 0)
        try run.linear(y, weight, bias: bias, into: joined, at: first)
        #expect(sameBits(joined.array, expected.array))

        let both = try run.joinedTokens(x, y)
        #expect(try sameBits(run.linear(both, tokens: first, second, weight, bias: bias).array, b.array))
        #expect(try sameBits(run.linear(both, tokens: 0, first, weight, bias: bias).array, a.array))
        #expect(throws: DiffError.self) { try run.linear(x, weight, bias: bias, into: joined, at: second + 1) }
        #expect(throws: DiffError.self) { try run.linear(both, tokens: first, second + 1, weight, bias: bias) }
        #expect(throws: DiffError.self) { try run.linear(x.rows(0, 1), weight, bias: bias, into: joined, at: 0) }
    }

    /// Only the part and the tokens asked for change, each head by the norm of a row.
    @Test(arguments: [(1, 8), (2, 5), (3, 64)], [0, 1])
    func headsAreNormalisedInPlace(_ heads: (Int, Int), _ part: Int) throws {
        let (count, width) = heads
        var numbers = Numbers(7)
        let (qkv, weight) = (try numbers.tensor([2, 6, 3 * count * width]), try numbers.tensor([width]))
        let run = try run()
        let before = qkv.array
        try run.normaliseHeads(in: qkv, part: part, heads: count, tokens: 2, 3, weight: weight, eps: 1e-6)
        let after = qkv.array
        for token in 0..<12 {
            for head in 0..<3 * count {
                let at = (token * 3 * count + head) * width
                var expected = Array(before[at..<at + width])
                if (2..<5).contains(token % 6), head / count == part {
                    expected = try run.rmsNorm(Tensor(expected, Shape(1, 1, width)), weight: weight, eps: 1e-6).array
                }
                #expect(sameBits(Array(after[at..<at + width]), expected), "token \(token), head \(head)")
            }
        }
        #expect(throws: DiffError.self) {
            try run.normaliseHeads(in: qkv, part: 0, heads: count, tokens: 4, 3, weight: weight, eps: 1e-6)
        }
    }

    @Test func channelsHaveScalesAndShiftsOfTheirOwn() throws {
        var numbers = Numbers(3)
        let x = try numbers.tensor([2, 3, 2, 5])
        let found = try run().scaledChannels(x, by: [2, -1, 0.5], adding: [0, 1, -3]).array
        let expected = x.array.enumerated().map { (i, value) in
            [2 * value, -value + 1, 0.5 * value - 3][i / 10 % 3]
        }
        #expect(sameBits(found, expected))
        #expect(throws: DiffError.self) { try run().scaledChannels(x, by: [1, 1], adding: [0, 0]) }
    }

    @Test func samplesAreMeanAndDeviation() throws {
        var numbers = Numbers(3)
        let (mean, log, z) = (
            try numbers.tensor([1, 2, 3, 4]), try numbers.tensor([1, 2, 3, 4], scale: 4),
            try numbers.tensor([1, 2, 3, 4])
        )
        let found = try run().gaussianSample(mean, log, z).doubles
        let expected = zip(mean.doubles, zip(log.doubles, z.doubles)).map { $0 + exp($1.0 / 2) * $1.1 }
        #expect(Difference(found, expected).absolute < 2e-6)
        #expect(throws: DiffError.self) { try run().gaussianSample(mean, log, z.reshaped(Shape(1, 2, 4, 3))) }
    }

    @Test func softBoundsAreNeverPassed() throws {
        let bounded = try run().softlyBounded(Tensor([0, 1e-3, 100, -100], Shape(4)), by: 3).array
        #expect(bounded[0] == 0 && abs(bounded[1] - 1e-3) < 1e-9 && bounded[2] == 3 && bounded[3] == -3)
        #expect(try run().softlyBounded(Tensor([.nan], Shape(1)), by: 3).array[0].isNaN)
    }
}

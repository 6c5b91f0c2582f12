import DiffTensor
import Foundation
import TestSupport
import Testing

/// Heads and tokens while something is learned: what comes out, and which gradients come back.
@Suite struct LearnedHeadTests {
    @Test(arguments: [(1, 3), (2, 4), (3, 8), (16, 64)])
    func normalisedHeads(_ heads: Int, _ dim: Int) throws {
        var numbers = Numbers(UInt64(heads * 10 + dim))
        let scales = try numbers.tensor([heads], around: 2)
        guard dim < 64 else {
            // Enough for several threads: the bits stay.
            let qkv = try numbers.tensor([2, 40, 3 * heads * dim])
            let bits = try [1, 2].map { threads in
                try gradients(
                    of: { (run, x) throws(DiffError) in try run.normalisedHeads(x[0], heads: heads, scales: x[1]) },
                    [qkv, scales], qkv, Run(pool: WorkerPool(threads: threads), budget: nil))
            }
            #expect(sameBits(bits[0].flatMap { $0 }, bits[1].flatMap { $0 }))
            return
        }
        let qkv = try numbers.tensor([2, 3, 3 * heads * dim])
        try checkGradient("normalised heads", [qkv, scales], step: 2e-3, tolerance: 8e-3) {
            (run, x) throws(DiffError) in try run.normalisedHeads(x[0], heads: heads, scales: x[1])
        }
    }

    @Test func cappedExponentials() throws {
        let x = try Tensor([-1, 0, 0.9, 1.1, 4], Shape(5))
        let run = Run(pool: nil, budget: nil)
        let expected = x.array.map { exp(min(Double($0), 1)) }
        #expect(Difference(try run.cappedExponentials(x, bound: 1).array, expected).absolute < 1e-6)
        try checkGradient("capped exponentials", [x]) { (run, x) throws(DiffError) in
            try run.cappedExponentials(x[0], bound: 1)
        }
    }

    @Test func tokensThatAreJoined() throws {
        var numbers = Numbers(32)
        let inputs = [try numbers.tensor([2, 1, 5]), try numbers.tensor([2, 4, 5])]
        try checkGradient("joined tokens", inputs) { (run, x) throws(DiffError) in try run.joinedTokens(x[0], x[1]) }
    }

    @Test(arguments: [(0, 2), (1, 3), (3, 1), (0, 4)])
    func tokensThatAreChosen(_ start: Int, _ count: Int) throws {
        var numbers = Numbers(33)
        try checkGradient("chosen tokens", [try numbers.tensor([2, 4, 3])]) { (run, x) throws(DiffError) in
            try run.tokens(x[0], start, count)
        }
    }
}

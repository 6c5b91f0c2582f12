import CKernels
import DiffAccel
import DiffTensor
import Foundation
import TestSupport
import Testing

/// The working memory that a model keeps from one forward to the next.
@Suite(.serialized) struct ForwardMemoryTests {
    private let tiny: Tiny

    init() throws { tiny = try Tiny() }

    private func inputs(_ rows: Int) throws -> NamedInputs {
        var inputs = NamedInputs()
        inputs.tensors = [
            "x": try tiny.noise(rows), "t": try Tensor([Float](repeating: 300, count: rows), Shape(rows)),
        ]
        inputs.integers = ["y": [Int](repeating: 2, count: rows)]
        return inputs
    }

    private func output(_ rows: Int, of model: Model? = nil, limit: Int = 0) throws -> Tensor {
        try #require(try (model ?? tiny.model).forward(inputs(rows), threads: 1, memoryLimit: limit)["out"])
    }

    /// Blocks allocated by one forward.
    private func blocks(_ rows: Int, limit: Int = 0) throws -> UInt64 {
        let before = ck_alloc_count()
        _ = try output(rows, limit: limit)
        return ck_alloc_count() - before
    }

    @Test func aSecondForwardOfTheSameSizesAllocatesInputsOnly() throws {
        _ = try blocks(2)
        let before = ck_alloc_count()
        _ = try inputs(2)
        let given = ck_alloc_count() - before
        #expect(try blocks(2) == given)
        // Other sizes, and calls with a limit, begin anew.
        #expect(try blocks(1) > given)
        #expect(try blocks(2) > given)
        #expect(try blocks(2, limit: 1 << 30) > given)
        #expect(try blocks(2) == given)
    }

    @Test func whatOneForwardGaveIsLeftAloneByTheNext() throws {
        let first = try output(2)
        let values = first.array
        for rows in [2, 1, 2, 2] { #expect(try output(rows).array.count == rows * values.count / 2) }
        #expect(sameBits(first.array, values))
        #expect(sameBits(try output(2).array, try output(2, of: Model(tiny.path)).array))
    }

    @Test func forwardsAtOnceHaveMemoryOfTheirOwn() throws {
        let expected = try output(2).array
        nonisolated(unsafe) var results = [[Float]](repeating: [], count: 8)
        let lock = NSLock()
        let (model, given) = (tiny.model, try inputs(2))
        DispatchQueue.concurrentPerform(iterations: results.count) { index in
            let found = try? model.forward(given, threads: 1)["out"]?.array
            lock.withLock { results[index] = found ?? [] }
        }
        for result in results { #expect(sameBits(result, expected)) }
    }

    @Test func aForwardThatFailsLeavesTheNextOneWhole() throws {
        let expected = try output(2).array
        var wrong = try inputs(2)
        wrong.integers["y"] = [0, 99]
        #expect(failure { _ = try tiny.model.forward(wrong, threads: 1) }?.code == .invalidArgument)
        #expect(sameBits(try output(2).array, expected))
    }
}

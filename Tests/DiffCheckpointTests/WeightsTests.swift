import DiffTensor
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct WeightsTests {
        let scratch = Scratch()
        let table: TensorTable

        init() throws {
            let path = "\(scratch.path)/w.safetensors"
            try SafetensorsWriter.write(
                [
                    "blocks.0.q.weight": Tensor([1, 2, 3, 4], Shape(2, 2)),
                    "blocks.0.k.weight": Tensor([5, 6, 7, 8], Shape(2, 2)),
                    "blocks.0.v.weight": SafetensorsTests.raw([0x3f80, 0x4000, 0, 0], [2, 2], .bf16),
                    "blocks.0.q.bias": Tensor([9, 10], Shape(2)),
                    "blocks.0.k.bias": SafetensorsTests.raw([0x3c00, 0xc000], [2], .f16),
                    "blocks.0.h.weight": SafetensorsTests.raw([0x3c00, 0xc000], [1, 2], .f16),
                    "conv.weight": Tensor([1, 2], Shape(1, 2, 1, 1)), "extra.a": Tensor([0], Shape(1)),
                    "extra.b": Tensor([0], Shape(1)),
                ], to: path)
            table = try Checkpoint.open(path: path).tensors
        }

        @Test func scopes() throws {
            let weights = Weights(table)
            let block = weights.scope("blocks").scope(index: 0)
            #expect(
                block.path == "blocks.0" && block.scope("a.b").full("c") == "blocks.0.a.b.c"
                    && weights.full("x") == "x")
            #expect(block.has("q.weight") && !block.has("z.weight"))
            #expect(
                block.first(of: ["to_q.weight", "q.weight"]) == "q.weight" && block.first(of: ["n", "m"]) == "n")
            #expect(block.shape(of: "q.weight") == (try Shape(2, 2)) && block.shape(of: "n") == nil)
            #expect(try block.scope("q").tensor("weight", [2, 2]).array == [1, 2, 3, 4])
            #expect(try block.tensor("h.weight", [1, 2]).dtype == .f16)
            #expect(try block.vector("k.bias", 2).array == [1, -2])
            #expect(try weights.tensor("conv.weight", [1, 2], orShape: [1, 2, 1, 1]).shape == Shape(1, 2))
            #expect(try weights.tensor("conv.weight", [1, 2, 1, 1], orShape: [1, 2]).shape == Shape(1, 2, 1, 1))
        }

        @Test func fusing() throws {
            let block = Weights(table).scope("blocks.0")
            let qk = try block.concatenated(["q.weight", "k.weight"], [2, 2])
            #expect(qk.shape == (try Shape(4, 2)) && qk.array == [1, 2, 3, 4, 5, 6, 7, 8])
            let qkv = try block.concatenated(["q.weight", "v.weight", "k.weight"], [2, 2])
            #expect(qkv.dtype == .f32 && qkv.array == [1, 2, 3, 4, 1, 2, 0, 0, 5, 6, 7, 8])
            let hh = try block.concatenated(["h.weight", "h.weight"], [1, 2])
            #expect(hh.dtype == .f16 && hh.byteCount == 8)
            #expect(try hh.widened(budget: nil).array == [1, -2, 1, -2])
            #expect(try block.concatenatedVectors(["q.bias", "k.bias"], 2).array == [9, 10, 1, -2])
            let upcast = Weights(table, options: Weights.Options(type: .f32)).scope("blocks.0")
            #expect(try upcast.concatenated(["h.weight", "h.weight"], [1, 2]).array == [1, -2, 1, -2])
            #expect(try upcast.tensor("v.weight", [2, 2]).array == [1, 2, 0, 0])
        }

        @Test func reportIsComplete() throws {
            let weights = Weights(table)
            let block = weights.scope("blocks.0")
            let missing = try block.tensor("z.weight", [7, 3])
            #expect(missing.shape == (try Shape(7, 3)) && missing.raw == nil)
            // Found out before anything is allocated.
            let wrong = try block.tensor("q.weight", [1_000_000, 1_000_000])
            #expect(wrong.raw == nil)
            _ = try block.vector("k.bias", 3)
            #expect(try block.concatenated(["k.weight", "y.weight"], [2, 2]).raw == nil)
            _ = try weights.tensor("conv.weight", [2, 1], orShape: [2, 1, 1, 1])
            weights.markUsed(prefix: "extra.a")
            block.markUsed { $0.hasSuffix("h.weight") }
            let found = try #require(error { () throws(DiffError) in try weights.finish() })
            #expect(found.code == .shape)
            let place = "\(scratch.path)/w.safetensors"
            #expect(
                found.message == """
                    \(place): the weights do not fit the model (2 missing, 3 wrongly shaped, 3 unused)
                    wrongly shaped: blocks.0.k.bias is [2], expected [3], \
                    blocks.0.q.weight is [2, 2], expected [1000000, 1000000], \
                    conv.weight is [1, 2, 1, 1], expected [2, 1] or [2, 1, 1, 1]
                    missing: blocks.0.y.weight, blocks.0.z.weight
                    unused: blocks.0.q.bias, blocks.0.v.weight, extra.b
                    """)
        }

        @Test func finishes() throws {
            let weights = Weights(table)
            weights.markUsed { $0.hasPrefix("blocks.") }
            _ = try weights.tensor("conv.weight", [1, 2, 1, 1])
            #expect(error { () throws(DiffError) in try weights.finish() }?.code == .incompatible)
            try weights.finish(allowingUnused: true)
            weights.scope("extra").markUsed(prefix: "")
            try weights.finish()
        }

        @Test func reportIsBounded() throws {
            let weights = Weights(table)
            for index in 0..<500 {
                _ = try weights.scope(index: index).tensor(String(repeating: "x", count: 900), [1])
            }
            for index in 0..<100 { _ = try weights.tensor("n\(index)", [1]) }
            let found = try #require(error { () throws(DiffError) in try weights.finish() })
            #expect(found.message.contains("and 588 more") && found.message.utf8.count <= DiffError.maxMessageBytes)
            #expect(found.message.contains("600 missing"))
        }

        @Test func dryRunReadsNothing() throws {
            let budget = try MemoryBudget(limit: 1)
            let block = Weights(table, options: Weights.Options(budget: budget, dryRun: true)).scope("blocks.0")
            #expect(try block.tensor("h.weight", [1, 2]).dtype == .f16)
            #expect(try block.vector("k.bias", 2).byteCount == 8)
            #expect(try block.concatenated(["q.weight", "k.weight"], [2, 2]).raw == nil)
            #expect(budget.peak == 0)
            let real = Weights(table, options: Weights.Options(budget: budget)).scope("blocks.0")
            #expect(error { () throws(DiffError) in try real.tensor("q.weight", [2, 2]) }?.code == .overBudget)
            #expect(
                error { () throws(DiffError) in try real.concatenated(["q.weight"], [2, 2]) }?.code == .overBudget)
        }

        @Test func badRequests() throws {
            let weights = Weights(table)
            #expect(error { () throws(DiffError) in try weights.tensor("conv.weight", [-1]) }?.code == .shape)
            #expect(
                error { () throws(DiffError) in try weights.tensor("conv.weight", [1 << 40, 1 << 40]) }?.code
                    == .shape)
            #expect(error { () throws(DiffError) in try weights.concatenated([], [1]) }?.code == .internal)
            #expect(
                error { () throws(DiffError) in try weights.concatenated(["a", "b"], [(1 << 48) - 1]) }?.code
                    == .shape)
            #expect(
                error { () throws(DiffError) in try weights.tensor("conv.weight", [1, 2], orShape: [3]) }?.code
                    == .internal)
        }
    }
}

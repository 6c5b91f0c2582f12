import DiffTensor
import Testing

@testable import DiffCheckpoint

extension All {
    /// Loading the matrices of some modules only, and telling checkpoints apart.
    @Suite struct WeightsPartTests {
        let scratch = Scratch()

        private func table(_ last: Float = 8, as name: String = "w") throws -> TensorTable {
            let path = "\(scratch.path)/\(name).safetensors"
            try SafetensorsWriter.write(
                [
                    "blocks.1.q.weight": Tensor([1, 2, 3, 4], Shape(2, 2)),
                    "blocks.1.q.bias": Tensor([9, 10], Shape(2)),
                    "blocks.10.q.weight": Tensor([5, 6, 7, last], Shape(2, 2)),
                    "conv.weight": Tensor([1, 2], Shape(1, 2, 1, 1)),
                ], to: path)
            return try Checkpoint.open(path: path).tensors
        }

        @Test func matricesOfOtherModulesAreLeftOut() throws {
            let budget = try MemoryBudget()
            var options = Weights.Options(budget: budget)
            options.part = WeightsPart(without: ["blocks.1", "conv"])
            let weights = try Weights(table(), options: options)
            let left = try weights.tensor("blocks.1.q.weight", [2, 2])
            let square = try Shape(2, 2)
            #expect(left.raw == nil && left.shape == square && left.dtype == .f32)
            #expect(try weights.packed("blocks.1.q.weight", [2, 2]).dtype == .f32)
            #expect(try weights.tensor("conv.weight", [1, 2, 1, 1]).raw == nil)
            #expect(try weights.concatenated(["blocks.1.q.weight", "blocks.1.q.weight"], [2, 2]).raw == nil)
            #expect(budget.peak == 0, "nothing was read")
            #expect(try weights.vector("blocks.1.q.bias", 2).array == [9, 10])
            // A name that begins alike is another module's.
            #expect(try weights.tensor("blocks.10.q.weight", [2, 2]).array == [5, 6, 7, 8])
            #expect(
                try weights.concatenated(["blocks.1.q.weight", "blocks.10.q.weight"], [2, 2]).array
                    == [1, 2, 3, 4, 5, 6, 7, 8])
            try weights.finish()
        }

        @Test func whatIsLeftOutIsChecked() throws {
            var options = Weights.Options()
            options.part = WeightsPart(without: ["blocks.1"])
            let weights = try Weights(table(), options: options)
            _ = try weights.tensor("blocks.1.q.weight", [3, 2])
            _ = try weights.tensor("blocks.1.k.weight", [3, 2])
            let found = try #require(error { () throws(DiffError) in try weights.finish(allowingUnused: true) })
            #expect(
                found.message.contains("blocks.1.q.weight is [2, 2]") && found.message.contains("blocks.1.k.weight"))
        }

        private func fingerprint(_ table: TensorTable) throws -> String {
            var made = Fingerprint()
            try table.addFingerprint(to: &made)
            return made.text
        }

        @Test func fingerprintsTellFilesApart() throws {
            let one = try fingerprint(table())
            #expect(one.count == 32)
            #expect(try fingerprint(table(as: "copy")) == one)
            #expect(try fingerprint(table(8.000001)) != one)
        }

        @Test func fingerprintsOfLargeTensorsReadTheirEnds() throws {
            func table(_ change: Int?) throws -> TensorTable {
                var values = (0..<100_000).map { Float($0) }
                if let change { values[change] = -1 }
                let path = "\(scratch.path)/large.safetensors"
                try SafetensorsWriter.write(["a": Tensor(values, Shape(100_000))], to: path)
                return try Checkpoint.open(path: path).tensors
            }
            let one = try fingerprint(table(nil))
            for change in [0, 99_999] { #expect(try fingerprint(table(change)) != one) }
        }

        @Test func fingerprintsOfBytes() {
            func of(_ bytes: [UInt8]...) -> String {
                var made = Fingerprint()
                for part in bytes { part.withUnsafeBytes { made.add($0) } }
                return made.text
            }
            let all = [of([]), of([0]), of([0, 0]), of([1]), of([0], [0]), of([0, 1, 2, 3, 4, 5, 6, 7, 8]), of([8])]
            #expect(Set(all).count == all.count)
        }
    }
}

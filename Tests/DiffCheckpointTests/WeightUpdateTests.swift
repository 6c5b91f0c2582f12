import DiffTensor
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct WeightUpdateTests {
        let scratch = Scratch()

        private func table(_ tensors: [String: Tensor], _ name: String = "w") throws -> TensorTable {
            try SafetensorsWriter.write(tensors, to: "\(scratch.path)/\(name).safetensors")
            return try TensorTable(FileBytes(path: "\(scratch.path)/\(name).safetensors"))
        }

        private func numbers(_ dims: [Int], _ seed: Int) throws -> Tensor {
            let shape = try Shape(dims)
            return try Tensor((0..<shape.count).map { Float(($0 * 7 + seed * 13) % 23 - 11) / 8 }, shape)
        }

        /// w + scale up down for matrices of `inputs` columns, in f64.
        private func sum(_ w: [Float], _ up: [Float], _ down: [Float], rank: Int, scale: Double) -> [Float] {
            let (outputs, columns) = (up.count / rank, down.count / rank)
            return (0..<w.count).map { index in
                let (row, column) = (index / columns, index % columns)
                let product = (0..<rank).reduce(0.0) {
                    $0 + Double(up[row * rank + $1]) * Double(down[$1 * columns + column])
                }
                return row < outputs ? Float(Double(w[index]) + scale * product) : w[index]
            }
        }

        private func close(_ a: [Float], _ b: [Float], _ tolerance: Float = 1e-5) -> Bool {
            a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= tolerance * max(1, abs($1)) }
        }

        @Test func linearLayersAndConvolutionsOfEveryWindow() throws {
            let cases: [([Int], [Int], [Int])] = [
                ([6, 5], [6, 2], [2, 5]), ([6, 5, 1, 1], [6, 2, 1, 1], [2, 5, 1, 1]),
                ([6, 5], [6, 2, 1, 1], [2, 5, 1, 1]),
                ([6, 5, 1, 1], [6, 2], [2, 5]), ([6, 5, 3, 3], [6, 2, 1, 1], [2, 5, 3, 3]),
                ([40, 70], [40, 17], [17, 70]),
            ]
            for (weight, up, down) in cases {
                let model = try table(["a.weight": numbers(weight, 1), "b.weight": numbers(weight, 1)])
                let factors = try table(["up": numbers(up, 2), "down": numbers(down, 3)], "l")
                let updates = WeightUpdates(["a.weight": [LowRankUpdate(factors, up: "up", down: "down", scale: 0.5)]])
                let weights = Weights(model, options: .init(updates: updates))
                let expected = try sum(
                    numbers(weight, 1).array, numbers(up, 2).array, numbers(down, 3).array, rank: up[1], scale: 0.5)
                #expect(try close(weights.tensor("a.weight", weight).array, expected))
                #expect(try weights.tensor("b.weight", weight).array == numbers(weight, 1).array)
                // Handed out in the other form, as a linear layer stored as a convolution is.
                let flat = [weight[0], weight.dropFirst().reduce(1, *)]
                #expect(try close(weights.tensor("a.weight", flat, orShape: weight).array, expected))
                let both = try weights.concatenated(["b.weight", "a.weight"], weight).array
                #expect(try close(both, numbers(weight, 1).array + expected))
            }
        }

        @Test func aConvolutionInThreeFactors() throws {
            let (p, q, inputs) = (3, 2, 4)
            let model = try table(["a.weight": numbers([5, inputs, 3, 2], 1)])
            let factors = try table(
                [
                    "up": numbers([5, p, 1, 1], 2), "mid": numbers([p, q, 3, 2], 3),
                    "down": numbers([q, inputs, 1, 1], 4),
                ], "l")
            let update = LowRankUpdate(factors, up: "up", down: "down", middle: "mid", scale: 2)
            let weights = Weights(model, options: .init(updates: WeightUpdates(["a.weight": [update]])))
            let (up, mid, down) = (
                try numbers([5, p], 2).array, try numbers([p, q, 6], 3).array, try numbers([q, inputs], 4).array
            )
            let base = try numbers([5, inputs, 3, 2], 1).array
            let expected = (0..<base.count).map { index -> Float in
                let (o, i, k) = (index / (inputs * 6), index / 6 % inputs, index % 6)
                var total = 0.0
                for a in 0..<p {
                    for b in 0..<q {
                        total += Double(up[o * p + a]) * Double(mid[(a * q + b) * 6 + k]) * Double(down[b * inputs + i])
                    }
                }
                return base[index] + Float(2 * total)
            }
            #expect(try close(weights.tensor("a.weight", [5, inputs, 3, 2]).array, expected))
        }

        @Test(arguments: [DType.f16, .bf16]) func narrowWeightsAreChangedInF32AndRoundedOnce(_ type: DType) throws {
            let base = try numbers([6, 5], 1)
            let model = try table(["a.weight": base.narrowed(to: type, budget: nil)])
            let factors = try table(
                ["up": numbers([6, 2], 2).narrowed(to: .f16, budget: nil), "down": numbers([2, 5], 3)], "l")
            let updates = WeightUpdates(["a.weight": [LowRankUpdate(factors, up: "up", down: "down", scale: 0.3)]])
            let expected = try sum(
                base.array, numbers([6, 2], 2).array, numbers([2, 5], 3).array, rank: 2, scale: 0.3)
            let kept = try Weights(model, options: .init(updates: updates)).tensor("a.weight", [6, 5])
            let rounded = try Tensor(expected, Shape(6, 5)).narrowed(to: type, budget: nil)
            #expect(kept.dtype == type)
            #expect(
                try close(
                    kept.widened(budget: nil).array, rounded.widened(budget: nil).array, type == .f16 ? 1e-3 : 8e-3))
            let wide = try Weights(model, options: .init(type: .f32, updates: updates)).tensor("a.weight", [6, 5])
            #expect(wide.dtype == .f32 && close(wide.array, expected))
            let learned = Weights(model, options: .init(parameters: Parameters(), updates: updates))
            #expect(try close(learned.tensor("a.weight", [6, 5]).array, expected))
        }

        @Test func packedAndQuantisedWeightsAreThoseOfTheSum() throws {
            let (base, up, down) = (try numbers([48, 64], 1), try numbers([48, 4], 2), try numbers([4, 64], 3))
            let model = try table(["a.weight": base, "b.weight": base])
            let factors = try table(["up": up, "down": down], "l")
            let update = LowRankUpdate(factors, up: "up", down: "down", scale: 0.25)
            let updates = WeightUpdates(["a.weight": [update], "b.weight": [update, update]])
            let merged = Weights(model, options: .init(updates: updates))
            let sums = try table(
                ["a.weight": merged.tensor("a.weight", [48, 64]), "b.weight": merged.tensor("b.weight", [48, 64])],
                "sum")
            for type in [WeightType.stored, .int8] {
                let run = Run(pool: nil, budget: nil)
                try run.begin(SamplingContext(layouts: [SiteLayout(family: "test")], calls: 1, rows: 1))
                let x = try numbers([1, 3, 64], 5)
                func result(_ weights: Weights) throws -> [[Float]] {
                    let one = try weights.packed("a.weight", [48, 64])
                    let two = try weights.packed(concatenating: ["b.weight", "a.weight"], [48, 64])
                    return [try run.linear(x, one, bias: nil).array, try run.linear(x, two, bias: nil).array]
                }
                let mine = try result(Weights(model, options: .init(type: type, updates: updates)))
                #expect(try mine == result(Weights(sums, options: .init(type: type))))
                #expect(try mine != result(Weights(model, options: .init(type: type))))
            }
        }

        @Test func onlyTheRowsOfAFusedProjection() throws {
            let model = try table(["a.weight": Tensor([Float](repeating: 0, count: 12), Shape(6, 2))])
            let factors = try table(["up": Tensor([1, 2], Shape(2, 1)), "down": Tensor([1, 10], Shape(1, 2))], "l")
            let update = LowRankUpdate(factors, up: "up", down: "down", scale: 1, rows: (1, 3))
            let weights = Weights(model, options: .init(updates: WeightUpdates(["a.weight": [update]])))
            #expect(try weights.tensor("a.weight", [6, 2]).array == [0, 0, 0, 0, 1, 10, 2, 20, 0, 0, 0, 0])
        }

        @Test func whatDoesNotFitIsToldBeforeAndWhileLoading() throws {
            let factors = try table(
                [
                    "up": Tensor([1, 2], Shape(2, 1)), "down": Tensor([1, 10], Shape(1, 2)), "v": Tensor([1], Shape(1)),
                    "mid": Tensor([1], Shape(1, 1, 1, 1)), "nan": Tensor([.nan, 1], Shape(1, 2)),
                    "huge": Tensor([6e4, 6e4], Shape(2, 1)),
                ], "l")
            func misfit(
                _ up: String, _ down: String, _ weight: [Int], middle: String? = nil, rows: (Int, Int)? = nil
            ) throws -> Bool {
                let rows = rows.map { (part: $0.0, of: $0.1) }
                let update = LowRankUpdate(factors, up: up, down: down, middle: middle, scale: 1, rows: rows)
                return try update.misfit(Shape(weight)) != nil
            }
            #expect(try !misfit("up", "down", [2, 2]))
            #expect(try !misfit("up", "down", [6, 2], rows: (2, 3)))
            for (up, down, weight) in [
                ("up", "down", [3, 2]), ("up", "down", [2, 3]), ("down", "up", [2, 2]), ("v", "down", [1, 2]),
                ("none", "down", [2, 2]), ("up", "down", [2]), ("up", "down", [0, 2]),
            ] {
                #expect(try misfit(up, down, weight), "\(up) \(down) \(weight)")
            }
            #expect(try misfit("up", "down", [2, 2, 3, 3], middle: "mid"))
            #expect(try !misfit("up", "down", [2, 2, 1, 1], middle: "mid"))
            #expect(try misfit("up", "down", [6, 2], rows: (3, 3)))
            #expect(try misfit("up", "down", [6, 2], rows: (0, 0)))
            #expect(try misfit("up", "down", [5, 2], rows: (0, 3)))
            let model = try table([
                "a": Tensor([1, 1, 1, 1], Shape(2, 2)).narrowed(to: .f16, budget: nil),
                "c": Tensor([1, 1, 1], Shape(3, 1)),
            ])
            func load(_ name: String, _ update: LowRankUpdate, _ shape: [Int]) -> DiffError? {
                let weights = Weights(model, options: .init(updates: WeightUpdates([name: [update]])))
                return error { () throws(DiffError) in try weights.tensor(name, shape) }
            }
            let plain = LowRankUpdate(factors, up: "up", down: "down", scale: 1)
            #expect(load("c", plain, [3, 1])?.code == .shape)
            let beyond = load("a", LowRankUpdate(factors, up: "huge", down: "down", scale: 1), [2, 2])
            #expect(beyond?.code == .notFinite && beyond?.message.contains("a smaller scale") == true)
            #expect(load("a", LowRankUpdate(factors, up: "up", down: "nan", scale: 1), [2, 2])?.code == .notFinite)
            // An estimate reads nothing and knows the size.
            let dry = Weights(model, options: .init(dryRun: true, updates: WeightUpdates(["a": [plain]])))
            #expect(try dry.tensor("a", [2, 2]).raw == nil)
        }
    }
}

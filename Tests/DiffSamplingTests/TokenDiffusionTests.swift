import DiffSampling
import DiffTensor
import Testing

@Suite struct TokenDiffusionTests {
    /// What torch 2.15 and NumPy 2.4 print after their seeds of 7 were set.
    @Test func ordersAreThoseOfTorchAndOfNumPy() throws {
        var torch = TorchRandom(seed: 7)
        let drawn = GenerationOrder(samples: 2, tokens: 16, .torch, seed: 7, &torch)
        #expect(
            drawn.positions == [
                [15, 8, 0, 7, 11, 2, 13, 12, 3, 1, 14, 9, 4, 6, 10, 5],
                [10, 7, 12, 9, 0, 14, 6, 2, 15, 1, 3, 5, 8, 13, 11, 4],
            ])
        // torch.randn(4), drawn afterwards by the same generator.
        let noise = try Run(pool: nil, budget: nil).randomNormal(Shape(4), &torch).array
        for (found, wanted) in zip(
            noise, [0.09379128366708755, -0.13337387144565582, 0.4588713049888611, -0.1495349109172821])
        {
            #expect(abs(Double(found) - wanted) < 1e-6)
        }
        var other = TorchRandom(seed: 7)
        let shuffled = GenerationOrder(samples: 2, tokens: 16, .numpy, seed: 7, &other)
        #expect(
            shuffled.positions == [
                [8, 5, 10, 2, 12, 0, 1, 14, 13, 7, 11, 3, 6, 9, 4, 15],
                [15, 5, 1, 9, 12, 3, 13, 2, 10, 11, 14, 0, 4, 6, 7, 8],
            ])
        var fresh = TorchRandom(seed: 7)
        #expect(other.next32() == fresh.next32(), "noise does not depend on NumPy's draws")
    }

    @Test func anOrderIsAPermutation() throws {
        #expect(try GenerationOrder([[1, 0, 2]], tokens: 3).positions == [[1, 0, 2]])
        for wrong in [[1, 0], [0, 1, 1], [0, 1, 3], [-1, 0, 1], [0, 1, 2, 3], []] {
            #expect(throws: DiffError.self) { try GenerationOrder([[0, 1, 2], wrong], tokens: 3) }
        }
    }

    @Test func sixtyFourIterationsOf256Tokens() throws {
        let all = try TokenIteration.all(tokens: 256, iterations: 64, guidance: 2.9, .linear)
        let counts = all.map(\.count)
        #expect(counts.count == 64 && counts.reduce(0, +) == 256)
        #expect(counts.prefix(13).allSatisfy { $0 == 1 } && counts.last == 6)
        #expect(all.allSatisfy { $0.scale < 2.9 && $0.scale > 1 })
        #expect(all.last?.scale == 1 + 1.9 * 255 / 256, "one token counts as left when the last are made")
        let constant = try TokenIteration.all(tokens: 256, iterations: 64, guidance: 2.9, .constant)
        #expect(constant.allSatisfy { $0.scale == 2.9 } && constant.map(\.count) == counts)
    }

    @Test(arguments: [1, 2, 9, 16, 100], [1, 2, 3, 16, 17, 64, 300])
    func everyTokenIsMadeOnce(_ tokens: Int, _ asked: Int) throws {
        let all = try TokenIteration.all(tokens: tokens, iterations: asked, guidance: 1, .linear)
        #expect(all.allSatisfy { $0.count > 0 && $0.scale == 1 } && all.count <= min(asked, tokens))
        #expect(all.first?.before == tokens && all.last?.after == 0)
        for (one, next) in zip(all, all.dropFirst()) { #expect(one.after == next.before) }
        if asked == tokens { #expect(all.count == tokens) }
    }

    @Test func whatIsNoGenerationIsRefused() throws {
        for (tokens, asked, guidance) in [(16, 0, 1.0), (16, 1001, 1), (0, 4, 1), (16, 4, -1), (16, 4, .nan)] {
            #expect(throws: DiffError.self) {
                try TokenIteration.all(tokens: tokens, iterations: asked, guidance: guidance, .linear)
            }
        }
        let schedule = try DiffusionSchedule(.dit, .even([5]))
        for temperature in [-1, Double.nan, .infinity] {
            #expect(throws: DiffError.self) {
                try TokenDiffusionSampler([], GenerationOrder([], tokens: 3), schedule, temperature: temperature)
            }
        }
    }
}

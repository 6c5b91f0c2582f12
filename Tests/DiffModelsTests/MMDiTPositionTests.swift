import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct MMDiTPositionTests {
    @Test func positionsAreTheCentreOfTheTable() throws {
        let tiny = tinyMMDiT(0)
        var tensors = try tiny.tensors()
        let inputs = try MMDiTInputs(tiny, height: 4, width: 8)
        let before = try forward(load(tiny, tensors), inputs)
        let table = try #require(tensors["pos_embed.pos_embed"])
        // 2 x 4 patches of 6 x 6: rows 2 and 3, columns 1 to 4.
        var changed = table.array
        for token in 0..<36 where !((2...3).contains(token / 6) && (1...4).contains(token % 6)) {
            for k in 0..<tiny.width { changed[token * tiny.width + k] += 1 }
        }
        tensors["pos_embed.pos_embed"] = try Tensor(changed, table.shape)
        #expect(try sameBits(forward(load(tiny, tensors), inputs), before))
        changed[(2 * 6 + 1) * tiny.width] += 1
        tensors["pos_embed.pos_embed"] = try Tensor(changed, table.shape)
        #expect(try !sameBits(forward(load(tiny, tensors), inputs), before))
    }

    /// A table of sines and cosines needs no file, and takes the memory of one of its axes.
    @Test func sinesAndCosinesAreKeptByAxis() throws {
        let computed = tinyMMDiT(3)
        var tensors = try computed.tensors()
        let inputs = try MMDiTInputs(computed)
        let expected = try forward(load(computed, tensors), inputs)
        let (side, width) = (computed.positionsSide, computed.width)
        var values: [Float] = []
        for token in 0..<side * side {
            for place in [token % side, token / side] {
                let position = Double(Float(place) / 1.5)
                let angles = (0..<width / 4).map { position * (1 / pow(10000, Double($0) / Double(width / 4))) }
                values += angles.map { Float(sin($0)) } + angles.map { Float(cos($0)) }
            }
        }
        tensors["pos_embed.pos_embed"] = try Tensor(values, Shape(1, side * side, width))
        let budget = try MemoryBudget(limit: 0)
        let network = try load(tinyMMDiT(0), tensors, .init(budget: budget))
        #expect(try sameBits(forward(network, inputs), expected))
        tensors["pos_embed.pos_embed"] = try Tensor(values.reversed(), Shape(1, side * side, width))
        let other = try MemoryBudget(limit: 0)
        let whole = try load(tinyMMDiT(0), tensors, .init(budget: other))
        #expect(other.used - budget.used >= 4 * (side * side - side) * width)
        withExtendedLifetime((network, whole)) {}
    }

    @Test func imagesThatDoNotFitAreRefused() throws {
        let tiny = tinyMMDiT(0)
        let network = try load(tiny)
        #expect(network.maxSide == 12 && network.sideMultiple == 2 && network.side == 8)
        for (height, width) in [(14, 8), (8, 14), (7, 8), (8, 3)] {
            #expect("\(height) x \(width)") {
                try forward(network, MMDiTInputs(tiny, height: height, width: width))
            } throws: { ($0 as? DiffError)?.code == .shape }
        }
        #expect(try forward(network, MMDiTInputs(tiny, height: 12, width: 12)).count == 2 * 4 * 144)
        var inputs = try MMDiTInputs(tiny)
        inputs.pooled = try inputs.pooled.rows(0, 1)
        #expect { try forward(network, inputs) } throws: { ($0 as? DiffError)?.code == .shape }
        inputs = try MMDiTInputs(tiny)
        inputs.t = try inputs.t.rows(0, 1)
        #expect { try forward(network, inputs) } throws: { ($0 as? DiffError)?.code == .shape }
    }
}

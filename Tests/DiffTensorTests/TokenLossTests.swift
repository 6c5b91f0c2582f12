import DiffTensor
import Foundation
import TestSupport
import Testing

/// The costs of logits against a plain reference, and their gradients against differences of the costs.
@Suite struct TokenLossTests {
    private struct Case {
        let student, teacher: Tensor
        let targets: [Int]

        init(_ rows: Int, _ width: Int, scale: Float = 3) throws {
            var numbers = Numbers(UInt64(rows * 100 + width))
            student = try numbers.tensor([rows, width], scale: scale)
            teacher = try numbers.tensor([rows, width], scale: scale)
            targets = (0..<rows).map { $0 * 7 % width }
        }

        func costs(
            _ student: Tensor, _ costing: TokenCosting, hasTeacher: Bool = true, threads: Int = 1
        ) throws -> (costs: TokenCosts, gradient: Tensor) {
            let run = Run(pool: try WorkerPool(threads: threads), budget: nil)
            let gradient = try Tensor(uninitialized: student.shape, budget: nil)
            let costs = try run.tokenCosts(
                of: student, teacher: hasTeacher ? teacher : nil, targets: targets, costing, writingTo: gradient)
            return (costs, gradient)
        }
    }

    private func probabilities(_ row: ArraySlice<Double>, _ temperature: Double) -> [Double] {
        let largest = row.max() ?? 0
        let z = row.map { exp(($0 - largest) / temperature) }
        let sum = z.reduce(0, +)
        return z.map { $0 / sum }
    }

    @Test(arguments: [1, 2, 5, 40, 300], [0.5, 1, 2])
    func costsAreThoseOfTheirDefinitions(_ width: Int, _ temperature: Double) throws {
        let one = try Case(6, width)
        let costing = TokenCosting(temperature: temperature, smoothing: 0.1, divergenceWeight: 1, entropyWeight: 1)
        let found = try one.costs(one.student, costing).costs
        let (s, t) = (one.student.doubles, one.teacher.doubles)
        for row in 0..<6 {
            let place = row * width..<(row + 1) * width
            let plain = probabilities(s[place], 1)
            let (p, q) = (probabilities(s[place], temperature), probabilities(t[place], temperature))
            let divergence = temperature * temperature * zip(p, q).reduce(0) { $0 + $1.1 * log($1.1 / $1.0) }
            #expect(abs(found.divergences[row] - divergence) < 1e-6 * max(1, divergence))
            let entropy = plain.enumerated().reduce(0) { sum, entry in
                let target = 0.1 / Double(width) + (entry.offset == one.targets[row] ? 0.9 : 0)
                return sum - target * log(entry.element)
            }
            #expect(abs(found.entropies[row] - entropy) < 1e-6 * max(1, entropy))
        }
        #expect(try one.costs(one.student, costing, hasTeacher: false).costs.divergences == [0, 0, 0, 0, 0, 0])
    }

    @Test(arguments: [(1.0, 0.0, 0.0), (0, 1, 0), (0, 1, 0.2), (0.3, 0.7, 0.1)], [0.7, 1, 3])
    func gradientsAreTheSlopesOfTheCosts(_ weights: (Double, Double, Double), _ temperature: Double) throws {
        let one = try Case(3, 7, scale: 2)
        let costing = TokenCosting(
            temperature: temperature, smoothing: weights.2, divergenceWeight: weights.0, entropyWeight: weights.1)
        let gradient = try one.costs(one.student, costing).gradient.array
        func loss(_ values: [Float]) throws -> Double {
            let costs = try one.costs(Tensor(values, one.student.shape), costing).costs
            return weights.0 * costs.divergences.reduce(0, +) + weights.1 * costs.entropies.reduce(0, +)
        }
        let values = one.student.array
        for place in values.indices {
            var (up, down) = (values, values)
            up[place] += 1e-3
            down[place] -= 1e-3
            let slope = (try loss(up) - loss(down)) / (Double(up[place]) - Double(down[place]))
            #expect(abs(Double(gradient[place]) - slope) < 1e-5, "at \(place)")
        }
    }

    @Test func threadsChangeNoBit() throws {
        let one = try Case(64, 512)
        let costing = TokenCosting(temperature: 2, smoothing: 0.1, divergenceWeight: 0.5, entropyWeight: 0.5)
        let (a, b) = (try one.costs(one.student, costing), try one.costs(one.student, costing, threads: 2))
        #expect(a.costs.divergences == b.costs.divergences && a.costs.entropies == b.costs.entropies)
        #expect(sameBits(a.gradient.array, b.gradient.array))
    }

    @Test func whatIsNoNumberIsSeen() throws {
        let one = try Case(2, 5)
        let costing = TokenCosting(temperature: 1, smoothing: 0, divergenceWeight: 1, entropyWeight: 1)
        for odd in [Float.nan, .infinity] {
            var values = one.student.array
            values[3] = odd
            let found = try one.costs(Tensor(values, one.student.shape), costing)
            #expect(!found.costs.entropies[0].isFinite && found.costs.entropies[1].isFinite)
        }
        // A code that neither side can draw costs nothing.
        var (s, t) = (one.student.array, one.teacher.array)
        (s[9], t[9]) = (-.infinity, -.infinity)
        let run = Run(pool: nil, budget: nil)
        let gradient = try Tensor(uninitialized: one.student.shape, budget: nil)
        let costs = try run.tokenCosts(
            of: Tensor(s, one.student.shape), teacher: Tensor(t, one.student.shape), targets: [0, 1], costing,
            writingTo: gradient)
        #expect(costs.divergences[1].isFinite && gradient.array[9] == 0)
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let one = try Case(2, 5)
        let costing = TokenCosting(temperature: 1, smoothing: 0, divergenceWeight: 1, entropyWeight: 1)
        func costs(_ targets: [Int], teacher: Tensor? = nil, gradient: Tensor? = nil) throws(DiffError) {
            _ = try Run(pool: nil, budget: nil).tokenCosts(
                of: one.student, teacher: teacher, targets: targets, costing, writingTo: gradient ?? one.teacher)
        }
        for targets in [[0, 5], [-1, 0], [Int.max, 0]] {
            #expect(throws: DiffError.self) { try costs(targets) }
        }
        let other = try Tensor([Float](repeating: 0, count: 8), Shape(2, 4))
        #expect(throws: DiffError.self) { try costs([0]) }
        #expect(throws: DiffError.self) { try costs([0, 1], teacher: other) }
        #expect(throws: DiffError.self) { try costs([0, 1], gradient: other) }
    }
}

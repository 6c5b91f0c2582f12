import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport
import Testing

/// Gradients of the losses against central differences of the losses themselves, at first, last and middle timesteps.
@Suite struct LossTests {
    private struct Batch {
        let x0, xt, noise, output, teacher: Tensor
        let t: [Int]

        init(_ loss: DiffusionLoss, channels: Int, outputs: Int, side: Int, t: [Int], seed: UInt64) throws {
            var numbers = Numbers(seed)
            self.t = t
            x0 = try numbers.tensor([t.count, channels, side, side], scale: 0.9)
            noise = try numbers.tensor([t.count, channels, side, side])
            xt = try loss.noised(x0, noise, t, Run(pool: nil, budget: nil))
            output = try numbers.tensor([t.count, outputs, side, side], scale: 0.8)
            teacher = try numbers.tensor([t.count, outputs, side, side], scale: 0.8)
        }
    }

    /// Largest deviation of `gradient` from differences of `loss`, relative to the largest difference. The gradient of the
    /// variational bound is that of the variance channels alone: for ε it is the mean squared error's.
    private func deviation(
        of gradient: [Float], at output: Tensor, _ loss: (Tensor, Int) throws -> Double
    ) throws -> Double {
        let values = output.array
        var (worst, largest) = (0.0, 1e-3)
        for place in values.indices {
            var (up, down) = (values, values)
            up[place] += 1e-3
            down[place] -= 1e-3
            let slope =
                (try loss(Tensor(up, output.shape), place) - loss(Tensor(down, output.shape), place))
                / (Double(up[place]) - Double(down[place]))
            worst = max(worst, abs(Double(gradient[place]) - slope))
            largest = max(largest, abs(slope))
        }
        return worst / largest
    }

    private func isEpsilon(_ place: Int, _ output: Tensor, _ channels: Int) -> Bool {
        let area = output.shape[2] * output.shape[3]
        return place / area % output.shape[1] < channels
    }

    @Test(arguments: [1, 2, 3], [false, true])
    func theDiffusionLossHasItsGradient(channels: Int, learnsVariance: Bool) throws {
        let loss = try DiffusionLoss(.dit)
        let batch = try Batch(
            loss, channels: channels, outputs: learnsVariance ? 2 * channels : channels, side: 3, t: [1, 417, 999],
            seed: 3)
        let gradient = try Tensor([Float](repeating: 0, count: batch.output.shape.count), batch.output.shape)
        let terms = try loss.evaluate(
            batch.output, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t, weight: 0.7, addingTo: gradient)
        #expect(terms.mse.count == 3 && terms.vb.allSatisfy { learnsVariance ? $0 > 0 : $0 == 0 })
        let apart = try deviation(of: gradient.array, at: batch.output) { moved, place in
            let scratch = try Tensor([Float](repeating: 0, count: moved.shape.count), moved.shape)
            let terms = try loss.evaluate(
                moved, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t, addingTo: scratch)
            let part = isEpsilon(place, moved, channels) ? terms.mse : zip(terms.mse, terms.vb).map { $0 + $1 }
            return 0.7 * part.reduce(0, +) / 3
        }
        #expect(apart < 2e-3)
    }

    @Test func theFirstTimestepCostsLevels() throws {
        let loss = try DiffusionLoss(.dit)
        let batch = try Batch(loss, channels: 1, outputs: 2, side: 4, t: [0, 0], seed: 8)
        let gradient = try Tensor([Float](repeating: 0, count: batch.output.shape.count), batch.output.shape)
        _ = try loss.evaluate(
            batch.output, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t, addingTo: gradient)
        let apart = try deviation(of: gradient.array, at: batch.output) { moved, place in
            let scratch = try Tensor([Float](repeating: 0, count: moved.shape.count), moved.shape)
            let terms = try loss.evaluate(
                moved, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t, addingTo: scratch)
            return (isEpsilon(place, moved, 1) ? terms.mse : zip(terms.mse, terms.vb).map { $0 + $1 }).reduce(0, +) / 2
        }
        #expect(apart < 5e-3)
    }

    @Test func theDistillationLossHasItsGradient() throws {
        let ground = try DiffusionLoss(.dit)
        let loss = DistillationLoss(ground, distillationWeight: 0.9, groundWeight: 0.1)
        let batch = try Batch(ground, channels: 2, outputs: 4, side: 2, t: [3, 250, 998], seed: 5)
        let gradient = try Tensor([Float](repeating: 0, count: batch.output.shape.count), batch.output.shape)
        _ = try loss.evaluate(
            student: batch.output, teacher: batch.teacher, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t,
            addingTo: gradient)
        let apart = try deviation(of: gradient.array, at: batch.output) { moved, place in
            let scratch = try Tensor([Float](repeating: 0, count: moved.shape.count), moved.shape)
            let terms = try loss.evaluate(
                student: moved, teacher: batch.teacher, x0: batch.x0, xt: batch.xt, noise: batch.noise, t: batch.t,
                addingTo: scratch)
            var sum = 0.9 * terms.output.reduce(0, +) + 0.1 * terms.ground.mse.reduce(0, +)
            if !isEpsilon(place, moved, 2) {
                sum += 0.9 * terms.divergence.reduce(0, +) + 0.1 * terms.ground.vb.reduce(0, +)
            }
            return sum / 3
        }
        #expect(apart < 2e-3)
    }

    @Test(arguments: FeatureLoss.Masking.allCases)
    func theFeatureLossHasItsGradient(masking: FeatureLoss.Masking) throws {
        var numbers = Numbers(11)
        var values = numbers.floats(2 * 5 * 3)
        values[4] = 9  // a massive activation
        let student = try Tensor(values, Shape(2, 5, 3))
        let teacher = try numbers.tensor([2, 5, 3])
        let loss = FeatureLoss(sigmas: 2, masking: masking)
        let gradient = try Tensor([Float](repeating: 0, count: 30), student.shape)
        _ = try loss.evaluate(student: student, teacher: teacher, weight: 0.5, writingTo: gradient)
        // Which entries are massive is decided by the statistics, whose change is no part of the gradient: so the massive one stands still.
        for place in values.indices where place != 4 {
            var (up, down) = (values, values)
            up[place] += 1e-3
            down[place] -= 1e-3
            let scratch = try Tensor([Float](repeating: 0, count: 30), student.shape)
            let high = try loss.evaluate(
                student: Tensor(up, student.shape), teacher: teacher, weight: 0, writingTo: scratch)
            let low = try loss.evaluate(
                student: Tensor(down, student.shape), teacher: teacher, weight: 0, writingTo: scratch)
            let slope = 0.5 * (high.reduce(0, +) - low.reduce(0, +)) / 2e-3
            #expect(abs(Double(gradient.array[place]) - slope) < 2e-3, "\(masking) at \(place)")
        }
        if masking != .none { #expect(gradient.array[4] == 0, "a massive entry is not moved") }
    }

    @Test func timestepsOutsideTheProcessAreRefused() throws {
        let loss = try DiffusionLoss(.dit)
        let x = try Tensor([0.5, 0.5], Shape(2, 1, 1, 1))
        for t in [[0, 1000], [-1, 0], [Int.max, 0], [0]] {
            #expect(throws: DiffError.self) { _ = try loss.noised(x, x, t, Run(pool: nil, budget: nil)) }
        }
    }
}

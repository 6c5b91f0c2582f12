import DiffTensor
import TestSupport
import Testing

/// Guidance's arithmetic against the formulas in double precision.
@Suite struct GuidanceOpTests {
    private let c: Tensor, u: Tensor

    init() throws {
        var numbers = Numbers(2)
        c = try numbers.tensor([2, 5, 2, 3])
        u = try numbers.tensor([2, 5, 2, 3], scale: 1.4, around: 0.1)
    }

    @Test(arguments: [0, 1, 3, 5], [1.0, 1.5, 4.0])
    func guidanceActsOnPlanesThatHaveAScale(_ guided: Int, _ scale: Double) throws {
        let (cond, uncond) = (c.doubles, u.doubles)
        let expected = cond.indices.map { i in
            i / 6 % 5 < guided ? uncond[i] + scale * (cond[i] - uncond[i]) : cond[i]
        }
        let scales = (0..<5).map { $0 < guided ? Float(scale) : nil }
        try check("guided", expected, [2, 5, 2, 3], tolerance: 3e-7) { [c, u] run in
            try run.guided(c, u, scales: scales)
        }
    }

    @Test func everyPlaneMayHaveAScaleOfItsOwn() throws {
        let scales: [Float?] = [2, 2, nil, 0, 7.5]
        let (cond, uncond) = (c.doubles, u.doubles)
        let guided = cond.indices.map { i in
            scales[i / 6 % 5].map { uncond[i] + Double($0) * (cond[i] - uncond[i]) } ?? cond[i]
        }
        try check("guided", guided, [2, 5, 2, 3], tolerance: 1e-6) { [c, u] run in
            try run.guided(c, u, scales: scales)
        }
        let second = cond.indices.map { i in scales[i / 6 % 5] == nil ? uncond[i] : guided[i] }
        try check("both halves", guided + second, [4, 5, 2, 3], tolerance: 1e-6) { [c, u] run in
            try run.guidedHalves(run.guided(c, u, scales: scales), u, scales: scales)
        }
    }

    /// `rescale_noise_cfg` of diffusers in double precision, over the first `count` of 30 elements of a sample.
    @Test(arguments: [0.3, 0.7, 1], [30, 18, 2])
    func rescalingFollowsTheConditionalDeviation(_ share: Double, _ count: Int) throws {
        let (cond, x) = (c.doubles, u.doubles)
        func deviation(_ values: ArraySlice<Double>) -> Double {
            let mean = values.reduce(0, +) / Double(values.count)
            return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
        }
        let expected = x.indices.map { i in
            let start = i / 30 * 30
            let part = start..<start + count
            guard part.contains(i) else { return x[i] }
            let factor = deviation(cond[part]) / deviation(x[part])
            return share * x[i] * factor + (1 - share) * x[i]
        }
        try check("rescaled", expected, [2, 5, 2, 3], tolerance: 1e-6) { [c, u] run in
            try run.rescaled(u, like: c, share: Float(share), elements: count)
        }
    }

    /// By numpy: c = [1, 2, 4, 7], x = [2, 6, 0, -4]; c.std(ddof=1) = 2.6457513, x.std(ddof=1) = 4.1633320;
    /// 0.7 * x * (2.6457513 / 4.1633320) + 0.3 * x = 0.7448422 x.
    @Test func rescalingOfNumbersByHand() throws {
        let run = Run(pool: nil, budget: nil)
        let shape = try Shape(1, 4)
        let x = try Tensor([2, 6, 0, -4], shape)
        let found = try run.rescaled(x, like: Tensor([1, 2, 4, 7], shape), share: 0.7, elements: 4).array
        for (value, expected) in zip(found, [1.4896845, 4.4690534, 0, -2.9793689]) {
            #expect(abs(Double(value) - expected) < 1e-5)
        }
        let flat = try Tensor([3, 3, 3, 3], shape)
        #expect(try run.rescaled(flat, like: x, share: 1, elements: 4).array == [3, 3, 3, 3])
    }

    @Test func shapesThatDoNotFitAreRefused() throws {
        refuses(.shape) { [c, u] run in _ = try run.guided(c, u.rows(0, 1), scales: [1]) }
        refuses(.shape) { [c, u] run in _ = try run.guided(c, u, scales: []) }
        refuses(.shape) { [c, u] run in _ = try run.guided(c, u, scales: [1, 1, 1, 1]) }
        refuses(.shape) { [c, u] run in _ = try run.guidedHalves(c.rows(0, 1), u, scales: [1]) }
        refuses(.shape) { [c, u] run in _ = try run.rescaled(c, like: u, share: 1, elements: 31) }
        refuses(.shape) { [c, u] run in _ = try run.rescaled(c, like: u.rows(0, 1), share: 1, elements: 6) }
    }
}

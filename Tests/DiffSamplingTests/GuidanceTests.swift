import DiffTensor
import TestSupport
import Testing

@testable import DiffSampling

extension Tensor {
    fileprivate var doubles: [Double] { array.map(Double.init) }
}

/// u + s (c - u) with the scale of each element; nil: c.
private func guided(_ c: [Double], _ u: [Double], _ scale: (Int) -> Double?) -> [Double] {
    c.indices.map { (i: Int) -> Double in
        guard let s = scale(i) else { return c[i] }
        let distance: Double = c[i] - u[i]
        return u[i] + s * distance
    }
}

/// The formulas of guidance, its ramps and its interval against double precision.
@Suite struct GuidanceTests {
    private let c: Tensor, u: Tensor
    private let run = Run(pool: nil, budget: nil)

    init() throws {
        var numbers = Numbers(11)
        c = try numbers.tensor([2, 4, 3, 3])
        u = try numbers.tensor([2, 4, 3, 3], scale: 0.8, around: -0.1)
    }

    private func close(_ found: Tensor, _ expected: [Double], _ note: String) {
        let difference = Difference(found.array, expected)
        #expect(difference.relative < 1e-6, "\(note): \(difference)")
    }

    @Test func eachFormulaHasItsConvention() throws {
        let (cond, uncond) = (c.doubles, u.doubles)
        let expected = guided(cond, uncond) { _ in 3.5 }
        close(try Guidance(.scaled, scale: 3.5).combined(c, u, run), expected, "scaled")
        close(try Guidance(.added, scale: 2.5).combined(c, u, run), expected, "added")
        close(try Guidance(.extrapolated, scale: 2.5).combined(c, u, run), expected, "extrapolated")
        for formula in [Guidance.Formula.scaled, .added, .extrapolated] {
            let neutral = try Guidance(formula, scale: formula.neutral)
            #expect(neutral.scale(at: 0, of: 3) == nil)
            #expect(try sameBits(neutral.combined(c, u, run).array, c.array))
        }
    }

    @Test func channelsAreGuidedByOneScaleOrEachByItsOwn() throws {
        let (cond, uncond) = (c.doubles, u.doubles)
        func expected(_ scales: [Double?]) -> [Double] {
            guided(cond, uncond) { scales[$0 / 9 % 4] }
        }
        close(try Guidance(scale: 4, channels: .leading(3)).combined(c, u, run), expected([4, 4, 4, nil]), "leading")
        let own = try Guidance(scale: 1, channels: .scales([1.5, 0, 7]))
        close(try own.combined(c, u, run), expected([1.5, 0, 7, nil]), "scales")
        // Over steps each scale moves from 1.
        let ramped = try Guidance(scale: 1, channels: .scales([1.5, 0, 7]), ramp: .factors([0.5]))
        close(try ramped.combined(c, u, run), expected([1.25, 0.5, 4, nil]), "scales on a ramp")
        #expect(throws: DiffError.self) {
            try Guidance(scale: 4, channels: .leading(5)).combined(c, u, run)
        }
    }

    /// VAR's t = cfg · i / (K - 1), and the same for denoisers, where it begins at 1.
    @Test func scalesGrowOverSteps() throws {
        let (cond, uncond) = (c.doubles, u.doubles)
        for step in 0..<5 {
            let t = 1.7 * Double(step) / 4
            let expected = cond.indices.map { (i: Int) -> Double in (1 + t) * cond[i] - t * uncond[i] }
            for guidance in [
                try Guidance(.extrapolated, scale: 1.7, ramp: .steps), try Guidance(scale: 2.7, ramp: .steps),
                try Guidance(.added, scale: 1.7, ramp: .factors([0, 0.25, 0.5, 0.75, 1])),
            ] {
                close(try guidance.combined(c, u, step: step, of: 5, run), expected, "step \(step)")
                #expect((guidance.scale(at: step, of: 5) == nil) == (step == 0))
            }
        }
        let short = try Guidance(scale: 3, ramp: .factors([1]))
        #expect(short.scale(at: 0, of: 2) == 3 && short.scale(at: 1, of: 2) == nil)
    }

    /// torch.linspace(1, 3, 5) over [n, frames, channels, h, w].
    @Test func scalesGrowOverFrames() throws {
        var numbers = Numbers(3)
        let c = try numbers.tensor([2, 5, 3, 2, 2]), u = try numbers.tensor([2, 5, 3, 2, 2])
        let (cond, uncond) = (c.doubles, u.doubles)
        let scales = [1, 1.5, 2, 2.5, 3.0]
        let expected = guided(cond, uncond) { scales[$0 / 12 % 5] }
        let guidance = try Guidance(scale: 3, ramp: .frames(from: 1))
        close(try guidance.combined(c, u, run), expected, "frames")
        #expect(throws: DiffError.self) { try guidance.combined(self.c, self.u, run) }
    }

    /// Behind the 2 channels of the state stands something else: it is neither guided nor rescaled.
    @Test func rescalingComesAfterGuidance() throws {
        let (cond, uncond) = (c.doubles, u.doubles)
        let plain = guided(cond, uncond) { $0 / 9 % 4 < 2 ? 6 : nil }
        func deviation(_ values: ArraySlice<Double>) -> Double {
            let mean = values.reduce(0, +) / Double(values.count)
            return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
        }
        let expected = plain.indices.map { (i: Int) -> Double in
            guard i % 36 < 18 else { return plain[i] }
            let start = i / 36 * 36
            let part = start..<start + 18
            let factor: Double = deviation(cond[part]) / deviation(plain[part])
            return 0.7 * plain[i] * factor + 0.3 * plain[i]
        }
        let guidance = try Guidance(scale: 6, channels: .leading(2), rescale: 0.7)
        close(try guidance.combined(c, u, elements: 18, run), expected, "rescaled")
    }

    /// `int(start * n) <= step < int(stop * n)`, as in diffusers' guiders.
    @Test func anIntervalIsAPartOfTheSteps() throws {
        func steps(_ from: Double, _ to: Double, _ count: Int) throws -> [Int] {
            let guidance = try Guidance(scale: 4, interval: GuidanceInterval(from: from, to: to))
            return (0..<count).filter { guidance.scale(at: $0, of: count) != nil }
        }
        #expect(try steps(0, 1, 7) == Array(0..<7))
        #expect(try steps(0.25, 0.75, 8) == [2, 3, 4, 5])
        #expect(try steps(0.3, 0.8, 5) == [1, 2, 3])
        #expect(try steps(0.5, 0.5, 10).isEmpty)
        #expect(try steps(0.29, 1, 100).first == 28, "0.29 * 100 is below 29 in double precision")
    }

    @Test func settingsThatCannotBeAreRefusedByName() {
        func message(_ make: () throws -> Guidance) -> String {
            do { _ = try make() } catch let error as DiffError {
                return error.code == .invalidArgument ? error.message : "\(error.code)"
            } catch { return "?" }
            return "accepted"
        }
        for scale in [-1, .nan, .infinity, 1001] {
            #expect(message { try Guidance(scale: scale, channels: 3, of: 4) }.contains("guidance must"))
        }
        for channels in [0, -1, 5] {
            #expect(message { try Guidance(scale: 4, channels: channels, of: 4) }.contains("guidance_channels"))
        }
        for rescale in [-0.1, 1.1, .nan] {
            #expect(
                message { try Guidance(scale: 4, channels: 3, of: 4, rescale: rescale) }.contains("guidance_rescale"))
        }
        for interval in [[0.5], [0.6, 0.4], [-0.1, 1], [0, 1.1], [.nan, 1], [0, 0, 1]] {
            #expect(
                message { try Guidance(scale: 4, channels: 3, of: 4, interval: interval) }.contains(
                    "guidance_interval"))
        }
        #expect(
            message { try Guidance(scale: 4, channels: 3, of: 4, execution: "both") }.contains("guidance_execution"))
        #expect(message { try Guidance(.added, scale: 1, rescale: 0.5) }.contains("guidance_rescale"))
        #expect(message { try Guidance(scale: 1, channels: .scales([])) } != "accepted")
        #expect(message { try Guidance(scale: 1, channels: .scales([1]), ramp: .frames(from: 1)) } != "accepted")
        #expect(message { try Guidance(scale: 1, ramp: .factors([-1])) } != "accepted")
        #expect(
            message { try Guidance(scale: 4, channels: 4, of: 4, rescale: 1, interval: [0, 1], execution: "split") }
                == "accepted")
    }
}

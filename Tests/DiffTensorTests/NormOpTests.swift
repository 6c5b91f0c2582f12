import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct NormOpTests {
    private func normalised(_ row: ArraySlice<Double>, _ eps: Double) -> [Double] {
        let mean = row.reduce(0, +) / Double(row.count)
        let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(row.count)
        return row.map { ($0 - mean) / (variance + eps).squareRoot() }
    }

    /// Values around 3 with a spread of 1: subtracting the mean costs two bits.
    @Test(arguments: awkwardSizes + [72, 200], [1e-6, 1e-2])
    func layerNormHasMeanZeroAndVarianceOne(_ width: Int, _ eps: Double) throws {
        var numbers = Numbers(UInt64(width))
        let x = try numbers.tensor([2, 3, width], around: 3)
        let (w, b) = (try numbers.tensor([width]), try numbers.tensor([width]))
        var plain: [Double] = []
        for row in 0..<6 { plain += normalised(x.doubles[(row * width)..<((row + 1) * width)], eps) }
        // A single value minus itself is 0 but for rounding, which 1/√eps magnifies.
        let tolerance = width == 1 ? 1e-3 : 2e-6 / eps.squareRoot() * 1e-1 + 2e-5
        try check("layer norm", plain, [2, 3, width], tolerance: tolerance) { run in
            try run.layerNorm(x, weight: nil, bias: nil, eps: Float(eps))
        }
        let scaled = plain.indices.map { plain[$0] * w.doubles[$0 % width] + b.doubles[$0 % width] }
        try check("layer norm with weights", scaled, [2, 3, width], tolerance: tolerance) { run in
            try run.layerNorm(x, weight: w, bias: b, eps: Float(eps))
        }
    }

    @Test(arguments: awkwardSizes)
    func modulationIsPerSample(_ width: Int) throws {
        var numbers = Numbers(UInt64(width + 7))
        let (samples, tokens, groups) = (3, 2, 4)
        let x = try numbers.tensor([samples, tokens, width])
        let m = try numbers.tensor([samples, groups * width])
        let (values, vectors) = (x.doubles, m.doubles)
        var expected: [Double] = []
        for row in 0..<samples * tokens {
            let h = normalised(values[(row * width)..<((row + 1) * width)], 1e-2)
            let at = row / tokens * groups * width
            for i in 0..<width { expected.append(h[i] * (1 + vectors[at + 2 * width + i]) + vectors[at + width + i]) }
        }
        try check("modulated norm", expected, [samples, tokens, width], tolerance: 1e-5) { run in
            try run.normModulate(x, shift: RowVectors(m, 1, of: groups), scale: RowVectors(m, 2, of: groups), eps: 1e-2)
        }
    }

    @Test(arguments: [1, 3, 8, 17], Activation.allCases)
    func groupNormIsPerSampleAndGroup(_ area: Int, _ activation: Activation) throws {
        var numbers = Numbers(UInt64(area))
        for (groups, each) in withEvery([1, 2, 3], [1, 2, 5]) {
            let channels = groups * each
            let x = try numbers.tensor([2, channels, 1, area], around: 1)
            let (w, b) = (try numbers.tensor([channels]), try numbers.tensor([channels]))
            var expected: [Double] = []
            for group in 0..<2 * groups {
                let size = each * area
                let h = normalised(x.doubles[(group * size)..<((group + 1) * size)], 1e-2)
                for (i, value) in h.enumerated() {
                    let channel = group % groups * each + i / area
                    expected.append(reference(activation, value * w.doubles[channel] + b.doubles[channel]))
                }
            }
            try check("group norm", expected, [2, channels, 1, area], tolerance: 1e-5) { run in
                try run.groupNorm(x, weight: w, bias: b, groups: groups, eps: 1e-2, activation: activation)
            }
        }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let (x, m, short) = (try numbers.tensor([2, 3, 4]), try numbers.tensor([2, 8]), try numbers.tensor([3]))
        let other = try numbers.tensor([3, 8])
        let images = try numbers.tensor([2, 4, 2, 2])
        let four = try numbers.tensor([4])
        refuses(.shape) { _ = try $0.layerNorm(x, weight: short, bias: nil, eps: 1e-6) }
        refuses(.shape) { _ = try $0.layerNorm(x, weight: nil, bias: short, eps: 1e-6) }
        refuses(.shape) {
            _ = try $0.normModulate(x, shift: RowVectors(m, 0, of: 4), scale: RowVectors(m, 1, of: 4), eps: 1e-6)
        }
        refuses(.shape) {
            _ = try $0.normModulate(x, shift: RowVectors(other, 0, of: 2), scale: RowVectors(other, 1, of: 2), eps: 1)
        }
        refuses(.shape) { _ in _ = try RowVectors(m, 2, of: 2) }
        refuses(.shape) { _ in _ = try RowVectors(m, 0, of: 3) }
        refuses(.shape) { _ in _ = try RowVectors(x, 0, of: 2) }
        refuses(.shape) { _ = try $0.groupNorm(images, weight: four, bias: four, groups: 3, eps: 1e-6) }
        refuses(.shape) { _ = try $0.groupNorm(images, weight: short, bias: four, groups: 2, eps: 1e-6) }
    }
}

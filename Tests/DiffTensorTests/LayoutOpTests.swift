import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct LayoutOpTests {
    @Test(arguments: [1, 2, 4], [1, 3, 8])
    func patchesAreCutRowByRow(_ p: Int, _ channels: Int) throws {
        var numbers = Numbers(UInt64(p * 10 + channels))
        let (n, gh, gw) = (2, 2, 3)
        let x = try numbers.tensor([n, channels, gh * p, gw * p])
        let values = x.doubles
        var tokens: [Double] = []
        for sample in 0..<n {
            for (r, c) in withEvery(Array(0..<gh), Array(0..<gw)) {
                for (channel, dy, dx) in withEvery(Array(0..<channels), Array(0..<p), Array(0..<p)) {
                    tokens.append(values[((sample * channels + channel) * gh * p + r * p + dy) * gw * p + c * p + dx])
                }
            }
        }
        try check("patchify", tokens, [n, gh * gw, channels * p * p], tolerance: 0) { run in
            try run.patchify(x, patch: p)
        }
    }

    @Test(arguments: [1, 2, 4], [1, 3, 8])
    func tokensArePutBackWithTheChannelFastest(_ p: Int, _ channels: Int) throws {
        var numbers = Numbers(UInt64(p * 10 + channels))
        let (n, gh, gw) = (2, 2, 3)
        let tokens = try numbers.tensor([n, gh * gw, p * p * channels])
        let values = tokens.doubles
        var image = [Double](repeating: 0, count: values.count)
        for (sample, r, c) in withEvery(Array(0..<n), Array(0..<gh), Array(0..<gw)) {
            for (channel, dy, dx) in withEvery(Array(0..<channels), Array(0..<p), Array(0..<p)) {
                image[((sample * channels + channel) * gh * p + r * p + dy) * gw * p + c * p + dx] =
                    values[((sample * gh + r) * gw + c) * p * p * channels + (dy * p + dx) * channels + channel]
            }
        }
        try check("unpatchify", image, [n, channels, gh * p, gw * p], tolerance: 0) { run in
            try run.unpatchify(tokens, channels: channels, gridHeight: gh, gridWidth: gw, patch: p)
        }
    }

    @Test(arguments: awkwardSizes)
    func transposingExchangesTheLastAxes(_ rows: Int) throws {
        var numbers = Numbers(UInt64(rows))
        for columns in awkwardSizes {
            let x = try numbers.tensor([2, rows, columns])
            let expected = withEvery([0, 1], Array(0..<columns), Array(0..<rows)).map { b, c, r in
                x.doubles[(b * rows + r) * columns + c]
            }
            try check("transposed", expected, [2, columns, rows], tolerance: 0) { run in try run.transposed(x) }
        }
    }

    @Test(arguments: [DType.f32, .f16, .bf16])
    func embeddingsAreRowsOfTheTable(_ type: DType) throws {
        var numbers = Numbers(3)
        let table = try type == .f32 ? numbers.tensor([5, 7]) : numbers.narrow([5, 7], type)
        let wide = try table.widened(budget: nil).doubles
        let rows = [4, 0, 0, 2]
        try check("embedding", rows.flatMap { wide[($0 * 7)..<($0 * 7 + 7)] }, [4, 7], tolerance: 0) { run in
            try run.embedding(table, rows)
        }
        refuses(.invalidArgument) { _ = try $0.embedding(table, [0, 5]) }
        refuses(.invalidArgument) { _ = try $0.embedding(table, [-1]) }
    }

    @Test func copiesAreInBlocksOfTheirOwn() throws {
        var numbers = Numbers(3)
        let x = try numbers.tensor([2, 3])
        try check("doubled", x.doubles + x.doubles, [4, 3], tolerance: 0) { run in try run.doubled(x) }
        try check("copy", x.doubles, [2, 3], tolerance: 0) { run in try run.copy(x) }
        #expect(try Run(pool: nil, budget: nil).copy(x).storage !== x.storage)
        try check("filled", [2.5, 2.5, 2.5], [3], tolerance: 0) { run in try run.filled(3, with: 2.5) }
        try check("tensor", [1, 2, 3, 4], [2, 2], tolerance: 0) { run in try run.tensor([1, 2, 3, 4], Shape(2, 2)) }
        refuses(.shape) { _ = try $0.tensor([1], Shape(2)) }
    }

    @Test(arguments: [1, 2, 3])
    func enlargingRepeatsPixels(_ factor: Int) throws {
        var numbers = Numbers(3)
        let x = try numbers.tensor([2, 3, 3, 5])
        let expected = withEvery(Array(0..<6), Array(0..<3 * factor), Array(0..<5 * factor)).map { plane, row, column in
            x.doubles[(plane * 3 + row / factor) * 5 + column / factor]
        }
        try check("enlarged", expected, [2, 3, 3 * factor, 5 * factor], tolerance: 0) { run in
            try run.upsampleNearest(x, factor: factor)
        }
    }

    @Test func windowsAndTilesFitTogether() throws {
        var numbers = Numbers(3)
        let x = try numbers.tensor([1, 2, 7, 9])
        let expected = withEvery([0, 1], [2, 3, 4], [1, 2, 3, 4]).map { c, r, k in x.doubles[(c * 7 + r) * 9 + k] }
        try check("window", expected, [1, 2, 3, 4], tolerance: 0) { run in
            try run.window(x, top: 2, left: 1, height: 3, width: 4)
        }
        // Overlapping windows of one image blend back into it: fades of equal values change nothing but rounding.
        try check("blended", x.doubles, [1, 2, 7, 9], tolerance: 2e-7) { run in
            let out = try run.filled(2 * 7 * 9, with: .nan).reshaped(x.shape)
            for (top, left) in withEvery([0, 3], [0, 4]) {
                let tile = try run.window(x, top: top, left: left, height: 4, width: 5)
                try run.blend(tile, into: out, top: top, left: left, overlap: 1)
            }
            return out
        }
        refuses(.shape) { _ = try $0.window(x, top: 5, left: 0, height: 3, width: 1) }
        refuses(.shape) { _ = try $0.window(x, top: -1, left: 0, height: 3, width: 1) }
        refuses(.shape) { _ = try $0.window(x, top: 0, left: .max, height: 3, width: 1) }
        refuses(.shape) { try $0.blend(x, into: x, top: 1, left: 0, overlap: 1) }
    }

    @Test func aRowIsStoredInItsPlace() throws {
        try check("stored", [0, 0, 1, 2, 0, 0], [3, 2], tolerance: 0) { run in
            let out = try run.filled(6, with: 0).reshaped(Shape(3, 2))
            try run.store(run.tensor([1, 2], Shape(2)), in: out, row: 1)
            return out
        }
        refuses(.shape) { run in
            try run.store(run.filled(2, with: 0), in: run.filled(6, with: 0).reshaped(Shape(3, 2)), row: 3)
        }
        refuses(.shape) { run in
            try run.store(run.filled(3, with: 0), in: run.filled(6, with: 0).reshaped(Shape(3, 2)), row: 0)
        }
    }

    @Test func pixelsAreRoundedHalfToEvenAndLimited() throws {
        let run = Run(pool: nil, budget: nil)
        let x = try Tensor([-1, 1, 0, 2, -2, .nan, 0.5 / 127.5, 3 / 127.5], Shape(1, 2, 2, 2))
        let bytes = try Storage(byteCount: 8, budget: nil)
        try run.quantize(x, into: bytes, scale: 127.5, offset: 127.5)
        // [n, h, w, c]: channel 0 is -1 1 0 2, channel 1 is -2 NaN 0.5/127.5 3/127.5; 127.5 rounds to 128, 130.5 to 130.
        #expect(Array(UnsafeRawBufferPointer(start: bytes.base, count: 8)) == [0, 0, 255, 0, 128, 128, 255, 130])
        let small = try Storage(byteCount: 7, budget: nil)
        #expect(throws: DiffError.self) { try run.quantize(x, into: small, scale: 1, offset: 0) }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let x = try numbers.tensor([1, 2, 6, 5])
        let tokens = try numbers.tensor([1, 6, 8])
        refuses(.shape) { _ = try $0.patchify(x, patch: 2) }
        refuses(.shape) { _ = try $0.patchify(tokens, patch: 1) }
        refuses(.shape) { _ = try $0.patchify(x, patch: 0) }
        refuses(.shape) { _ = try $0.unpatchify(tokens, channels: 2, gridHeight: 2, gridWidth: 2, patch: 2) }
        refuses(.shape) { _ = try $0.unpatchify(tokens, channels: 3, gridHeight: 2, gridWidth: 3, patch: 2) }
        refuses(.shape) { _ = try $0.transposed(x) }
        refuses(.shape) { _ = try $0.upsampleNearest(tokens, factor: 2) }
        refuses(.shape) { _ = try $0.upsampleNearest(x, factor: 0) }
    }
}

@Suite struct DiffusionOpTests {
    @Test func channelsAreCutOutOfEverySample() throws {
        var numbers = Numbers(1)
        let x = try numbers.tensor([2, 5, 2, 3])
        let expected = withEvery([0, 1], [1, 2, 3], Array(0..<6)).map { n, c, i in x.doubles[(n * 5 + c) * 6 + i] }
        try check("channels", expected, [2, 3, 2, 3], tolerance: 0) { run in try run.channels(x, 1, 3) }
        #expect(try Run(pool: nil, budget: nil).channels(x, 0, 5).storage === x.storage, "all of them: no copy")
        refuses(.shape) { _ = try $0.channels(x, 4, 2) }
        refuses(.shape) { _ = try $0.channels(x, -1, 2) }
        refuses(.shape) { _ = try $0.channels(x, 1, .max) }
    }

    @Test func learnedVariancesLieBetweenTheirBounds() throws {
        var numbers = Numbers(2)
        let (v, z) = (try numbers.tensor([2, 3, 2, 2]), try numbers.tensor([2, 3, 2, 2]))
        let expected = zip(v.doubles, z.doubles).map { v, z in
            let w = (v + 1) / 2
            return exp(0.5 * (w * -1 + (1 - w) * -4)) * z
        }
        try check("noise", expected, [2, 3, 2, 2], tolerance: 5e-7) { run in
            try run.learnedRangeNoise(v, z, minLog: -4, maxLog: -1)
        }
        refuses(.shape) { _ = try $0.learnedRangeNoise(v, z.rows(0, 1), minLog: 0, maxLog: 1) }
    }

    @Test func randomTensorsFollowTheGenerator() throws {
        let run = Run(pool: nil, budget: nil)
        var (a, b) = (TorchRandom(seed: 4), TorchRandom(seed: 4))
        var expected = [Float](repeating: 0, count: 40)
        expected.withUnsafeMutableBufferPointer { a.normal($0.baseAddress!, count: 40) }
        #expect(try sameBits(run.randomNormal(Shape(2, 20), &b).array, expected))
    }

    /// Angles of up to 999 are rounded to float32 before cos and sin, which moves them by up to 3e-5.
    @Test(arguments: [1, 4, 128], [true, false])
    func timeFeaturesAreCosinesThenSines(_ half: Int, _ official: Bool) throws {
        let denominator = official ? half : max(1, half - 1)
        let frequencies = TimeFrequencies(half: half, denominator: Float(denominator))
        let times: [Float] = [0, 1, 0.5, 517, 999]
        let t = try Tensor(times, Shape(5))
        let expected = times.flatMap { time in
            let angles = (0..<half).map { Double(time) * exp(-log(10000) * Double($0) / Double(denominator)) }
            return angles.map { cos($0) } + angles.map { sin($0) }
        }
        try check("time features", expected, [5, 2 * half], tolerance: 6.5e-5) { run in
            try run.timeFeatures(t, frequencies)
        }
    }
}

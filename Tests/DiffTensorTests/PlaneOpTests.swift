import DiffTensor
import TestSupport
import Testing

/// Ops between planes and tokens against loops that say what they are.
@Suite struct PlaneOpTests {
    @Test(arguments: [1, 2, 15, 16, 17, 40])
    func gatesAreErfGELUs(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let x = try numbers.tensor([3, 2 * width], scale: 5)
        let values = x.array
        for threads in [1, 2] {
            let run = Run(pool: try WorkerPool(threads: threads), budget: nil)
            let found = try run.geGLU(x)
            #expect(found.shape == (try Shape(3, width)))
            let plain = try run.activate(
                Tensor(
                    (0..<3).flatMap { row in values[row * 2 * width + width..<(row + 1) * 2 * width] }, Shape(3, width)),
                .geluErf
            ).array
            let expected = plain.enumerated().map {
                values[$0.offset / width * 2 * width + $0.offset % width] * $0.element
            }
            #expect(Difference(found.array, expected).relative < 1e-6)
        }
        refuses(.shape) { run in _ = try run.geGLU(Tensor([1, 2, 3], Shape(1, 3))) }
    }

    @Test func channelsOfTwoTensors() throws {
        var numbers = Numbers(4)
        let (a, b) = (try numbers.tensor([2, 3, 4, 5]), try numbers.tensor([2, 2, 4, 5]))
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let joined = try run.joinedChannels(a, b)
        #expect(joined.shape == (try Shape(2, 5, 4, 5)))
        let expected = [a.array[..<60], b.array[..<40], a.array[60...], b.array[40...]].flatMap { $0 }
        #expect(joined.array == expected)
        // More elements than one task copies.
        let (large, small) = (try numbers.tensor([2, 3, 128, 150]), try numbers.tensor([2, 1, 128, 150]))
        let both = try run.joinedChannels(large, small).array
        #expect(
            both[0] == large.array[0] && both[3 * 19200] == small.array[0]
                && both[7 * 19200 + 19199] == small.array[38399])
        #expect(Array(both[4 * 19200..<7 * 19200]) == Array(large.array[3 * 19200..<6 * 19200]))
        refuses(.shape) { run in _ = try run.joinedChannels(a, b.reshaped(Shape(2, 2, 5, 4))) }
    }

    @Test func aVectorPerSampleOverChannels() throws {
        var numbers = Numbers(5)
        let (x, v) = (try numbers.tensor([2, 3, 4, 5]), try numbers.tensor([2, 9]))
        let run = Run(pool: nil, budget: nil)
        let found = try run.addChannels(x, RowVectors(v, columns: 4, 3)).array
        let expected = x.array.enumerated().map { $0.element + v.array[$0.offset / 60 * 9 + 4 + $0.offset / 20 % 3] }
        #expect(sameBits(found, expected))
        refuses(.shape) { _ in _ = try RowVectors(v, columns: 7, 3) }
        refuses(.shape) { _ in _ = try RowVectors(v, columns: -1, 3) }
        refuses(.shape) { run in _ = try run.addChannels(x, RowVectors(v, columns: 0, 4)) }
    }

    @Test(arguments: [(2, 2), (3, 5), (5, 4), (7, 9), (1, 1)])
    func nearestPixels(_ size: (h: Int, w: Int)) throws {
        var numbers = Numbers(6)
        let x = try numbers.tensor([1, 2, size.h, size.w])
        let run = Run(pool: nil, budget: nil)
        for (toH, toW) in [(2 * size.h, 2 * size.w), (2 * size.h - 1, 2 * size.w), (2 * size.h + 1, 3 * size.w - 1)] {
            let found = try run.resizedNearest(x, height: toH, width: toW).array
            let expected = (0..<2 * toH * toW).map { i in
                let (p, y, c) = (i / (toH * toW), i / toW % toH, i % toW)
                return x.array[(p * size.h + y * size.h / toH) * size.w + c * size.w / toW]
            }
            #expect(found == expected)
        }
        #expect(
            try run.resizedNearest(x, height: 2 * size.h, width: 2 * size.w).array
                == run.upsampleNearest(x, factor: 2).array)
        refuses(.shape) { run in _ = try run.resizedNearest(x, height: 0, width: 3) }
    }

    @Test func pixelsAsTokensAndBack() throws {
        var numbers = Numbers(7)
        for (height, width, channels) in [(1, 1, 1), (4, 5, 3), (17, 16, 33), (40, 40, 20)] {
            let x = try numbers.tensor([2, channels, height, width])
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
            let tokens = try run.pixelTokens(x)
            #expect(tokens.shape == (try Shape(2, height * width, channels)))
            let zero = try run.zeros(x.shape)
            #expect(try sameBits(run.addTokens(tokens, to: zero).array, x.array.map { $0 + 0 }))
            #expect(try sameBits(run.addTokens(tokens, to: x).array, x.array.map { $0 + $0 }))
            refuses(.shape) { run in _ = try run.addTokens(x, to: x) }
        }
    }

    @Test func sinesOrCosinesFirst() throws {
        let run = Run(pool: nil, budget: nil)
        let times = try Tensor([0, 3.5], Shape(2))
        let cosines = try run.timeFeatures(times, TimeFrequencies(half: 3, denominator: 3)).array
        let sines = try run.timeFeatures(times, TimeFrequencies(half: 3, denominator: 3, cosinesFirst: false)).array
        #expect(cosines[..<6] == [1, 1, 1, 0, 0, 0] && sines[..<6] == [0, 0, 0, 1, 1, 1])
        #expect(Array(cosines[6..<9]) == Array(sines[9..<12]) && Array(cosines[9..<12]) == Array(sines[6..<9]))
    }
}

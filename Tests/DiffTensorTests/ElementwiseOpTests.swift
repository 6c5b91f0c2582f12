import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct ElementwiseOpTests {
    /// Functions of one value, accurate to a few units in the last place of values of size 8.
    @Test(arguments: Activation.allCases, awkwardSizes)
    func activationsFollowTheirDefinition(_ activation: Activation, _ count: Int) throws {
        var numbers = Numbers(UInt64(count))
        let x = try numbers.tensor([1, count], scale: 8)
        try check("\(activation)", x.doubles.map { reference(activation, $0) }, [1, count], tolerance: 5e-7) { run in
            try run.activate(x, activation)
        }
    }

    @Test func activationsKeepTheirLimits() throws {
        let x = try Tensor([-1000, -100, -20, 0, 20, 100, 1000], Shape(7))
        let run = Run(pool: nil, budget: nil)
        for activation in Activation.allCases where activation != .none {
            let out = try run.activate(x, activation).array
            #expect(out[3] == 0 && out[4] == 20 && out[5] == 100 && out[6] == 1000, "\(activation): \(out)")
            #expect(out[0...2].allSatisfy { $0 <= 0 && $0 > -1e-6 }, "\(activation): \(out)")
        }
    }

    @Test(arguments: awkwardSizes)
    func gatesArePerSample(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let (x, a) = (try numbers.tensor([3, 2, width]), try numbers.tensor([3, 2, width]))
        let m = try numbers.tensor([3, 2 * width])
        let expected = (0..<6 * width).map { i in
            x.doubles[i] + m.doubles[i / (2 * width) * 2 * width + width + i % width] * a.doubles[i]
        }
        try check("gated add", expected, [3, 2, width], tolerance: 2e-7) { run in
            try run.addGated(x, a, gate: RowVectors(m, 1, of: 2))
        }
    }

    @Test(arguments: awkwardSizes)
    func sumsAndCombinations(_ count: Int) throws {
        var numbers = Numbers(UInt64(count))
        let (x, y) = (try numbers.tensor([2, count]), try numbers.tensor([2, count]))
        let (a, b) = (x.doubles, y.doubles)
        try check("add", zip(a, b).map { $0 + $1 }, [2, count], tolerance: 1e-7) { run in try run.add(x, y) }
        let table = try numbers.tensor([1, count])
        try check("table", a.indices.map { a[$0] + table.doubles[$0 % count] }, [2, count], tolerance: 1e-7) { run in
            try run.addTable(x, table)
        }
        // Every product and the sum are rounded to float32, as torch does: equal bits.
        let exact = zip(x.array, y.array).map { Double(Float(1.7) * $0 + (Float(-0.3) * $1) as Float) }
        try check("combine", exact, [2, count], tolerance: 0) { run in try run.combine(1.7, x, -0.3, y) }
    }

    @Test(arguments: awkwardSizes + [100])
    func softmaxSumsToOne(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        let x = try numbers.tensor([3, width], scale: 10)
        var expected: [Double] = []
        for row in 0..<3 {
            let values = Array(x.doubles[(row * width)..<((row + 1) * width)])
            let top = values.max() ?? 0
            let weights = values.map { exp($0 - top) }
            expected += weights.map { $0 / weights.reduce(0, +) }
        }
        try check("softmax", expected, [3, width], tolerance: 1e-6) { run in try run.softmax(x) }
    }

    @Test func softmaxOfHugeScoresDoesNotOverflow() throws {
        let run = Run(pool: nil, budget: nil)
        #expect(try run.softmax(Tensor([3e38, -3e38, 3e38], Shape(1, 3))).array == [0.5, 0, 0.5])
    }

    @Test func limitsAreKeptFromAChannelOn() throws {
        let x = try Tensor([-5, 5, -5, 5, -5, 5, 0.5, 0.25], Shape(2, 2, 2))
        try check("clamped", [-5, 5, -1, 1, -5, 5, 0.5, 0.25], [2, 2, 2], tolerance: 0) { run in
            try run.clamped(x, fromChannel: 1, to: -1...1)
        }
        #expect(x.array[2] == -5)
    }

    @Test(arguments: [1, 7, 8, 9, 1000])
    func oneBadValueIsFoundWhereverItIs(_ count: Int) throws {
        let run = Run(pool: nil, budget: nil)
        for place in Set([0, count / 2, count - 1]) {
            for bad in [Float.nan, .infinity, -.infinity] {
                var values = [Float](repeating: 1e38, count: count)
                try run.requireFinite(Tensor(values, Shape(count)), "here")
                values[place] = bad
                let x = try Tensor(values, Shape(count))
                #expect { try run.requireFinite(x, "the place") } throws: {
                    ($0 as? DiffError)?.code == .notFinite && ($0 as? DiffError)?.message.contains("the place") == true
                }
            }
        }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let (a, b) = (try numbers.tensor([2, 3]), try numbers.tensor([3, 2]))
        let gates = try numbers.tensor([2, 4])
        refuses(.shape) { _ = try $0.add(a, b) }
        refuses(.shape) { _ = try $0.combine(1, a, 1, b) }
        refuses(.shape) { _ = try $0.addTable(a, b) }
        refuses(.shape) { _ = try $0.addGated(a, b, gate: RowVectors(gates, 0, of: 2)) }
        refuses(.shape) { _ = try $0.addGated(a, a, gate: RowVectors(gates, 0, of: 2)) }
    }
}

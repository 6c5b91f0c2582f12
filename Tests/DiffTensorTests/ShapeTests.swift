import DiffTensor
import Testing

@Suite struct ShapeTests {
    @Test func extentsCountAndRowsAreThoseOfARowMajorTensor() throws {
        let shape = try Shape(2, 3, 5, 7)
        #expect(shape.rank == 4 && shape.count == 210 && shape.rows == 30 && shape.last == 7)
        #expect(shape.dims == [2, 3, 5, 7] && shape.description == "[2, 3, 5, 7]")
        #expect(shape[0] == 2 && shape[3] == 7 && shape[4] == 1 && shape[-1] == 1)
        #expect(try Shape([]).count == 1 && Shape([]).rank == 0 && Shape([]).last == 1)
        #expect(try Shape([0, 4]).count == 0)
    }

    @Test func everyInitialiserMakesEqualShapes() throws {
        #expect(try Shape(4) == Shape([4]))
        #expect(try Shape(4, 5) == Shape([4, 5]))
        #expect(try Shape(4, 5, 6) == Shape([4, 5, 6]))
        #expect(try Shape(4, 5, 6, 7) == Shape([4, 5, 6, 7]))
        #expect(try Shape(4, 5) != Shape(4, 5, 1))
        #expect(try Shape(4, 5) != Shape(5, 4))
    }

    @Test func replacingAnExtentKeepsTheOthers() throws {
        #expect(try Shape(2, 3, 4).replacingFirst(9) == Shape(9, 3, 4))
        #expect(try Shape(2, 3, 4).replacingLast(9) == Shape(2, 3, 9))
        #expect(throws: DiffError.self) { try Shape([]).replacingFirst(1) }
        #expect(throws: DiffError.self) { try Shape([]).replacingLast(1) }
        #expect(throws: DiffError.self) { try Shape(1 << 30, 1 << 10).replacingLast(1 << 30) }
    }

    @Test(arguments: [
        [-1], [3, -1], [1 << 48], [1 << 24, 1 << 24], [.max, .max], [.max, 2, 0], [0, .max],
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
    ])
    func extentsThatNoTensorCanHaveAreRefused(_ dims: [Int]) {
        #expect { try Shape(dims) } throws: { ($0 as? DiffError)?.code == .shape }
    }

    @Test func theLargestShapeIsAccepted() throws {
        #expect(try Shape((1 << 48) - 1).count == (1 << 48) - 1)
        #expect(try Shape([2, 2, 2, 2, 2, 2, 2, 2]).rank == 8)
    }
}

@Suite struct CheckedMathTests {
    @Test func resultsThatFitAreGiven() {
        #expect(Checked.add(2, 3) == 5 && Checked.subtract(2, 3) == -1 && Checked.multiply(-2, 3) == -6)
        #expect(Checked.divide(7, 2) == 3 && Checked.divide(0, 5) == 0)
        #expect(Checked.integer(3) == 3 && Checked.integer(-0.0) == 0 && Checked.integer(0x1p53) == 1 << 53)
    }

    @Test func decimalsAreDigitsAlone() {
        func decimal(_ text: String) -> Int? { Checked.decimal(Array(text.utf8)) }
        #expect(decimal("0") == 0 && decimal("0012") == 12 && decimal("9223372036854775807") == .max)
        for text in ["", "-1", "+1", " 1", "1 ", "1e3", "9223372036854775808", "é"] { #expect(decimal(text) == nil) }
    }

    @Test func whatDoesNotFitIsNil() {
        #expect(Checked.add(.max, 1) == nil && Checked.subtract(.min, 1) == nil)
        #expect(Checked.multiply(.max, 2) == nil && Checked.multiply(.min, -1) == nil)
        #expect(Checked.divide(1, 0) == nil && Checked.divide(1, -1) == nil && Checked.divide(-1, 1) == nil)
        for value in [0.5, .nan, .infinity, -.infinity, 0x1p54, -1e300] { #expect(Checked.integer(value) == nil) }
    }
}

import DiffTensor
import Testing

@Suite struct PositionSetTests {
    @Test func setsAscend() throws {
        #expect(try PositionSet([0, 3, 4], of: 5).positions == [0, 3, 4])
        #expect(PositionSet(all: 3).positions == [0, 1, 2])
        #expect(PositionSet(of: 6) { $0 % 2 == 1 }.positions == [1, 3, 5])
        for (positions, length) in [
            ([1, 1], 4), ([2, 1], 4), ([4], 4), ([-1], 4), ([0], 0), ([.max], 4), ([.min], 4),
        ] {
            #expect(throws: DiffError.self) { _ = try PositionSet(positions, of: length) }
        }
        #expect(PositionSet(all: -3).length == 0)
    }

    @Test func membersAreFound() throws {
        let set = try PositionSet([1, 2, 5, 9], of: 11)
        #expect((-2..<13).filter(set.contains) == [1, 2, 5, 9])
        #expect(!PositionSet(all: 0).contains(0))
    }

    @Test func keepingLeavesASubset() throws {
        var set = PositionSet(all: 6)
        set.keep { $0 != 2 && $0 < 5 }
        #expect(set.positions == [0, 1, 3, 4] && set.length == 6 && set.count == 4)
        #expect(set.filter { $0 > 9 }.isEmpty)
    }

    @Test func ranksAreThoseAmongTheSet() throws {
        let set = try PositionSet([1, 2, 5, 9], of: 11)
        #expect(try set.ranks(of: PositionSet([2, 9], of: 11)) == [1, 3])
        #expect(try set.ranks(of: PositionSet([], of: 11)) == [])
        #expect(try set.ranks(of: PositionSet([3], of: 11)) == nil)
        #expect(try set.ranks(of: PositionSet([10], of: 11)) == nil)
        #expect(try set.ranks(of: PositionSet([2], of: 12)) == nil)
    }
}

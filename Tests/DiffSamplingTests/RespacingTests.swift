import DiffSampling
import DiffTensor
import Testing

@Suite struct RespacingTests {
    /// `space_timesteps` of the official code, run with Python.
    @Test(arguments: [
        ([1], [0]), ([2], [0, 999]), ([6], [0, 200, 400, 599, 799, 999]),
        ([7], [0, 166, 333, 500, 666, 832, 999]),
        ([10], [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]),
        (
            [20],
            [0, 53, 105, 158, 210, 263, 315, 368, 421, 473, 526, 578, 631, 684, 736, 789, 841, 894, 946, 999]
        ),
        (
            [50],
            [
                0, 20, 41, 61, 82, 102, 122, 143, 163, 183, 204, 224, 245, 265, 285, 306, 326, 347, 367, 387, 408, 428,
                449,
                469, 489, 510, 530, 550, 571, 591, 612, 632, 652, 673, 693, 714, 734, 754, 775, 795, 816, 836, 856, 877,
                897,
                917, 938, 958, 979, 999,
            ]
        ),
    ])
    func evenSpacingRoundsHalfToEven(_ counts: [Int], _ expected: [Int]) throws {
        #expect(try TimestepSpacing.even(counts).timesteps(of: 1000) == expected)
    }

    @Test func sectionsAreSampledOneByOne() throws {
        let kept = try TimestepSpacing.even([10, 15, 25]).timesteps(of: 1000)
        #expect(kept.count == 50 && TimestepSpacing.even([10, 15, 25]).steps == 50)
        // 1000 = 334 + 333 + 333: the remainder goes to the first sections.
        #expect(kept[..<10] == [0, 37, 74, 111, 148, 185, 222, 259, 296, 333])
        #expect(kept[10] == 334 && kept[24] == 666 && kept[25] == 667 && kept[49] == 999)
        #expect(kept[10..<15] == [334, 358, 381, 405, 429])
        #expect(kept[25..<30] == [667, 681, 695, 709, 722])
        #expect(zip(kept, kept.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test(arguments: [1, 2, 3, 25, 100, 999, 1000])
    func everyNumberOfStepsIsAscendingAndInRange(_ steps: Int) throws {
        for spacing in [TimestepSpacing.even([steps]), .leading(steps, offset: 0)] {
            let kept = try spacing.timesteps(of: 1000)
            #expect(kept.count == steps && kept.first == 0 && kept.allSatisfy { (0..<1000).contains($0) })
            #expect(zip(kept, kept.dropFirst()).allSatisfy { $0 < $1 })
        }
    }

    @Test func stridesStartAtZero() throws {
        #expect(
            try TimestepSpacing.strided(10).timesteps(of: 1000) == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900])
        #expect(try TimestepSpacing.strided(250).timesteps(of: 1000) == (0..<250).map { $0 * 4 })
        // 1000 / 3 is no whole number: the first stride with ⌈1000 / i⌉ = 3 is 334.
        #expect(try TimestepSpacing.strided(3).timesteps(of: 1000) == [0, 334, 668])
        #expect { try TimestepSpacing.strided(600).timesteps(of: 1000) } throws: {
            ($0 as? DiffError)?.code == .invalidArgument
        }
    }

    @Test func leadingSpacingMayBeShifted() throws {
        #expect(try TimestepSpacing.leading(6, offset: 0).timesteps(of: 1000) == [0, 166, 332, 498, 664, 830])
        #expect(try TimestepSpacing.leading(4, offset: 1).timesteps(of: 1000) == [1, 251, 501, 751])
        #expect(try TimestepSpacing.leading(1, offset: 999).timesteps(of: 1000) == [999])
        for offset in [-1, 250, .max] {
            #expect { try TimestepSpacing.leading(4, offset: offset).timesteps(of: 1000) } throws: {
                ($0 as? DiffError)?.code == .invalidArgument
            }
        }
    }

    @Test(arguments: [
        TimestepSpacing.even([0]), .even([]), .even([1001]), .even([-5]), .even([5, -1]), .even([500, 10, 10]),
        .even([.max, .max]), .strided(0), .strided(-1), .leading(0, offset: 0), .leading(1001, offset: 0),
        .leading(.max, offset: 0), .even([10, -5]),
    ])
    func stepsThatDoNotExistAreRefused(_ spacing: TimestepSpacing) {
        #expect { try spacing.timesteps(of: 1000) } throws: { ($0 as? DiffError)?.code == .invalidArgument }
    }
}

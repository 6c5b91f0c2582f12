import DiffTensor
import TestSupport
import Testing

/// Keys that are shared at random: keyed by seed, call and site.
@Suite struct KeyDrawTests {
    /// Draws in call `index` of a live run, or of a dry one.
    private func draw(
        _ draw: KeyDraw, _ count: Int, of keys: Int, call index: Int, site: Site, dry: Bool = false
    ) throws -> [Int] {
        let run = dry ? Run(dryOn: 1) : Run(pool: nil, budget: nil)
        let call = Call(time: 0, index: index, count: 10, step: index)
        return try run.advance(call) { (_, run) throws(DiffError) in try draw.draw(count, of: keys, at: site, run) }
    }

    private func sites() -> [Site] {
        var layout = SiteLayout(family: "test")
        return (0..<3).map { layout.add("blocks.\($0)", .block) }
    }

    @Test func aDrawDependsOnSeedCallAndSiteAlone() throws {
        var seen: Set<[Int]> = []
        for (seed, index, site) in withEvery([UInt64](0...2), [0, 1, 2], sites()) {
            let first = try draw(KeyDraw(seed: seed), 20, of: 64, call: index, site: site)
            #expect(Set(first).count == 20 && first.allSatisfy { (0..<64).contains($0) })
            // Whatever else was drawn before, and a dry run among it.
            let again = KeyDraw(seed: seed)
            _ = try draw(again, 64, of: 64, call: index, site: sites()[0])
            _ = try draw(again, 20, of: 64, call: index, site: site, dry: true)
            #expect(try draw(again, 20, of: 64, call: index, site: site) == first)
            // More keys of the same permutation.
            #expect(try Array(draw(again, 40, of: 64, call: index, site: site).prefix(20)) == first)
            seen.insert(first)
        }
        #expect(seen.count == 27)
    }

    /// The expected list is made in Python: splitmix64's finaliser as the seed of torch's generator, then its randperm.
    @Test func theRecipeIsTorchsPermutation() throws {
        #expect(
            try draw(KeyDraw(seed: 7), 8, of: 16, call: 3, site: sites()[2]) == [13, 14, 1, 3, 7, 6, 11, 4])
    }

    @Test func givenKeysAreTaken() throws {
        let site = sites()[1]
        let given = KeyDraw(given: [KeyDraw.Place(call: 2, site: site): [5, 1, 5]])
        #expect(try draw(given, 3, of: 6, call: 2, site: site) == [5, 1, 5])
        for (count, keys, index, site) in [(2, 6, 2, site), (3, 6, 1, site), (3, 6, 2, sites()[0]), (3, 2, 2, site)] {
            #expect(throws: DiffError.self) { try draw(given, count, of: keys, call: index, site: site) }
        }
    }

    @Test func impossibleCountsAreRefused() throws {
        for (count, keys) in [(-1, 4), (5, 4), (1, 0), (1, -3), (0, -1)] {
            #expect(throws: DiffError.self) { try draw(KeyDraw(seed: 0), count, of: keys, call: 0, site: sites()[0]) }
        }
        #expect(try draw(KeyDraw(seed: 0), 0, of: 0, call: 0, site: sites()[0]).isEmpty)
    }
}

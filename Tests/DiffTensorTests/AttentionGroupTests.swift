import DiffTensor
import TestSupport
import Testing

/// Attention in groups, and what all groups share.
extension AttentionPatternTests {
    func grouped(_ qkv: Tensor, heads: Int, _ groups: AttentionGroups) throws -> AttentionCall {
        var call = try AttentionCall(site: Site.first, qkv: qkv, heads: heads, gridWidth: groups.count)
        call.pattern = .groups(groups)
        return call
    }

    /// Every number of groups, one token per group and one group included; shared keys that repeat own ones and each other.
    @Test(arguments: [1, 2, 3, 5, 8], [1, 2, 7, 60])
    func groupsSeeTheirOwnTokensAndTheSharedOnes(_ groups: Int, _ times: Int) throws {
        var numbers = Numbers(UInt64(groups * 100 + times))
        let tokens = groups * times
        let lists = [[], [tokens - 1], [0, tokens / 2, 0] + Array(0..<tokens)]
        for ((heads, dim), (own, shared)) in withEvery([(1, 8), (3, 5), (2, 32)], withEvery([true, false], lists)) {
            guard own || !shared.isEmpty else { continue }
            let qkv = try numbers.tensor([2, tokens, 3 * heads * dim], scale: 2)
            let rows = parts(qkv)
            let expected = reference(rows[0], rows[1], rows[2], queries: tokens, keys: tokens, heads: heads, dim: dim) {
                n in
                (own ? (0..<times).map { $0 * groups + n % groups } : []) + shared
            }
            let call = try grouped(
                qkv, heads: heads, AttentionGroups(count: groups, seesOwnKeys: own, shared: shared))
            try check(
                "\(groups) groups of \(times), \(shared.count) shared", expected, [2, tokens, heads * dim],
                tolerance: 1e-5
            ) { try $0.attention(call) }
        }
    }

    /// A shared token that is in the group too counts once where that is wanted; few keys and many, which are taken in blocks.
    @Test(arguments: [3, 8], [2, 60]) func sharedTokensMayCountOnce(_ groups: Int, _ times: Int) throws {
        var numbers = Numbers(UInt64(groups * 100 + times))
        let (tokens, heads, dim) = (groups * times, 2, 8)
        let qkv = try numbers.tensor([2, tokens, 3 * heads * dim], scale: 2)
        let rows = parts(qkv)
        for shared in [[0, tokens - 1], Array(0..<tokens).reversed()] {
            let expected = reference(rows[0], rows[1], rows[2], queries: tokens, keys: tokens, heads: heads, dim: dim) {
                n in
                (0..<times).map { $0 * groups + n % groups } + shared.filter { $0 % groups != n % groups }
            }
            let call = try grouped(
                qkv, heads: heads, AttentionGroups(count: groups, shared: shared, countsOnce: true))
            try check(
                "\(groups) groups of \(times), \(shared.count) shared once", expected, [2, tokens, heads * dim],
                tolerance: 1e-5
            ) { try $0.attention(call) }
        }
    }

    /// Every size of grid and window, small ones: the window alone, beside the own frequency, beside shared tokens, each counted once or not.
    @Test(arguments: [1, 2, 3, 8], [1, 2, 7])
    func aWindowShowsAllGroupsNearInTime(_ groups: Int, _ times: Int) throws {
        var numbers = Numbers(UInt64(groups * 100 + times))
        let (tokens, heads, dim) = (groups * times, 2, 5)
        let qkv = try numbers.tensor([2, tokens, 3 * heads * dim], scale: 2)
        let rows = parts(qkv)
        let lists = [[], [0, tokens / 2, tokens - 1, 0]]
        for ((own, once), (shared, window)) in withEvery(
            withEvery([true, false], [true, false]), withEvery(lists, [1, 2, 6, Int.max]))
        {
            let expected = reference(rows[0], rows[1], rows[2], queries: tokens, keys: tokens, heads: heads, dim: dim) {
                n in
                let ownTokens = own ? (0..<times).map { $0 * groups + n % groups } : []
                let near = (0..<tokens).filter { abs($0 / groups - n / groups) <= window && !ownTokens.contains($0) }
                guard once else { return ownTokens + near + shared }
                let hidden = shared.filter { !ownTokens.contains($0) }
                return ownTokens + near.filter { !hidden.contains($0) } + hidden
            }
            let made = AttentionGroups(
                count: groups, seesOwnKeys: own, shared: shared, countsOnce: once, window: window)
            try check(
                "\(made) of \(times)", expected, [2, tokens, heads * dim], tolerance: 1e-5
            ) { try $0.attention(grouped(qkv, heads: heads, made)) }
        }
    }

    /// What is counted as work is the pairs that are seen.
    @Test(arguments: [1, 3, 8], [1, 2, 9]) func windowsCostTheirPairs(_ groups: Int, _ times: Int) throws {
        let tokens = groups * times
        let qkv = try Tensor([Float](repeating: 0, count: tokens * 3 * 4), Shape(1, tokens, 12))
        for (own, window) in withEvery([true, false], [1, 2, 100]) {
            let run = Run(pool: nil, budget: nil)
            _ = try run.attention(
                grouped(qkv, heads: 2, AttentionGroups(count: groups, seesOwnKeys: own, window: window)))
            let seen = (0..<tokens).reduce(0) { sum, n in
                sum
                    + (0..<tokens).filter { m in
                        own && m % groups == n % groups || abs(m / groups - n / groups) <= window
                    }.count
            }
            #expect(run.trace.flops.reduce(0, +) == Double(4 * 4 * seen))
        }
    }

    /// Without own keys nothing is hidden.
    @Test func whatIsSharedAloneCountsOnceAnyway() throws {
        var numbers = Numbers(2)
        let qkv = try numbers.tensor([1, 12, 24])
        let run = Run(pool: nil, budget: nil)
        let made = try [false, true].map { once in
            try run.attention(
                grouped(qkv, heads: 2, AttentionGroups(count: 4, seesOwnKeys: false, shared: [5, 1], countsOnce: once))
            ).array
        }
        #expect(sameBits(made[0], made[1]))
    }

    @Test(arguments: [1, 9, 150, 700]) func oneGroupIsDenseBitForBit(_ tokens: Int) throws {
        var numbers = Numbers(UInt64(tokens))
        let qkv = try numbers.tensor([2, tokens, 3 * 24], scale: 2)
        let dense = try AttentionCall(site: Site.first, qkv: qkv, heads: 2)
        let one = try grouped(qkv, heads: 2, AttentionGroups(count: 1))
        let run = Run(pool: nil, budget: nil)
        #expect(try sameBits(run.attention(dense).array, run.attention(one).array))
    }

    /// A group is what dense attention makes of its tokens alone.
    @Test func aGroupHasTheBitsOfItsTokensAlone() throws {
        var numbers = Numbers(6)
        let (groups, times, width) = (3, 70, 16)
        let qkv = try numbers.tensor([1, groups * times, 3 * width], scale: 2)
        let run = Run(pool: nil, budget: nil)
        let all = try run.attention(grouped(qkv, heads: 2, AttentionGroups(count: groups))).array
        for group in 0..<groups {
            let rows = stride(from: group, to: groups * times, by: groups)
            let alone = try Tensor(
                rows.flatMap { qkv.array[$0 * 3 * width..<($0 + 1) * 3 * width] }, Shape(1, times, 3 * width))
            let own = try run.attention(AttentionCall(site: Site.first, qkv: alone, heads: 2)).array
            #expect(sameBits(own, rows.flatMap { all[$0 * width..<($0 + 1) * width] }))
        }
    }
}

import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import Foundation
import TestSupport
import Testing

private func router(_ steps: Int, _ sublayers: Int, threshold: Double = 0.1, _ seed: UInt64 = 1) throws -> Router {
    var numbers = Numbers(seed)
    return try Router(logits: (0..<steps).map { _ in numbers.floats(sublayers, scale: 5) }, threshold: threshold)
}

@Suite struct RouterTests {
    @Test func scoresMustPassTheThresholdStrictly() throws {
        // sigmoid(0) is exactly 0.5.
        #expect(try Router(logits: [[0, 1e-3, -1e-3]], threshold: 0.5).computes(row: 0) == [false, true, false])
        #expect(try Router(logits: [[-1e4, 1e4]], threshold: 0).computes(row: 0) == [false, true])
        #expect(try Router(logits: [[-80, 100]], threshold: 1).computes(row: 0) == [false, false])
    }

    @Test func rowsMustBeEqualAndFinite() {
        for logits: [[Float]] in [[], [[]], [[1, 2], [1]], [[.nan]], [[.infinity]]] {
            #expect { try Router(logits: logits, threshold: 0.1) } throws: { ($0 as? DiffError)?.code == .format }
        }
        for threshold in [-0.1, 1.1, .nan] {
            #expect { try Router(logits: [[1]], threshold: threshold) } throws: {
                ($0 as? DiffError)?.code == .invalidArgument
            }
        }
    }

    struct Released: Sendable, CustomStringConvertible {
        let file: String
        /// Kept (attention, MLP) by row at the official threshold, and kept in all at 0.1, 0.5 and 0.9.
        let rows: [Int: (Int, Int)]
        let totals: [Double: Int]
        var description: String { file }
    }

    /// The released routers' kept counts as published with their conversion. Skipped where the files are not there.
    static let released = [
        Released(
            file: "dit_xl2_256_ddim20_router",
            rows: [
                0: (28, 28), 2: (27, 28), 4: (27, 28), 6: (27, 28), 8: (26, 27), 10: (17, 9), 12: (3, 5), 14: (2, 2),
                16: (0, 0), 18: (0, 0),
            ], totals: [0.1: 312, 0.5: 292, 0.9: 251]),
        Released(
            file: "dit_xl2_256_ddim50_router",
            rows: [
                0: (28, 28), 2: (28, 28), 4: (27, 28), 6: (27, 28), 8: (28, 28), 10: (27, 28), 12: (27, 28),
                14: (27, 28),
                16: (27, 28), 18: (26, 28), 20: (26, 28), 22: (21, 15), 24: (18, 11), 26: (18, 8), 28: (5, 6),
                30: (3, 5),
                32: (3, 4), 34: (2, 4), 36: (1, 1), 38: (0, 1), 40: (2, 1), 42: (0, 0), 44: (0, 0), 46: (0, 1),
                48: (0, 0),
            ], totals: [0.1: 736, 0.5: 674, 0.9: 607]),
        Released(
            file: "uvit_h2_256_dpm20_router",
            rows: [
                1: (0, 0), 2: (2, 0), 3: (5, 1), 4: (4, 2), 5: (5, 3), 6: (10, 6), 7: (26, 23), 8: (26, 26),
                9: (25, 25),
            ], totals: [0.1: 233, 0.5: 220, 0.9: 189]),
        Released(
            file: "uvit_h2_256_dpm50_router",
            rows: [
                1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (0, 0), 5: (0, 0), 6: (0, 0), 7: (0, 0), 8: (0, 0), 9: (0, 0),
                10: (1, 0), 11: (1, 0), 12: (1, 1), 13: (2, 0), 14: (3, 1), 15: (3, 1), 16: (3, 1), 17: (1, 2),
                18: (1, 1),
                19: (0, 2), 20: (3, 3), 21: (4, 4), 22: (6, 5), 23: (8, 7), 24: (10, 13),
            ], totals: [0.1: 156, 0.5: 129, 0.9: 88]),
    ]

    static func path(_ file: String) -> String {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { url.deleteLastPathComponent() }
        let folder = ProcessInfo.processInfo.environment["DIFFACCEL_ROUTERS"]
        return "\(folder ?? url.appendingPathComponent("shared/specs/data").path)/\(file).json"
    }

    @Test(arguments: released)
    func releasedRoutersKeepThePublishedCounts(_ expected: Released) throws {
        let path = Self.path(expected.file)
        guard FileManager.default.fileExists(atPath: path) else { return }
        let json = try JSON(contentsOf: path, limits: JSON.Limits(bytes: 1 << 20, values: 100_000))
        let plan = try Plan(json, source: expected.file)
        guard case .learned(var router)? = (plan.entries.first as? LayerCachePlan)?.policy else {
            Issue.record("\(expected.file) is no router")
            return
        }
        #expect(router.threshold == (expected.file.hasPrefix("dit") ? 0.1 : 0.9), "the file's own threshold")
        for (row, counts) in expected.rows {
            let computes = router.computes(row: row)
            let attention = stride(from: 0, to: computes.count, by: 2).count { computes[$0] }
            #expect((attention, computes.count { $0 } - attention) == counts, "row \(row)")
        }
        for (threshold, total) in expected.totals {
            router.threshold = threshold
            #expect(expected.rows.keys.reduce(0) { $0 + router.computes(row: $1).count { $0 } } == total)
        }
        if expected.file.hasPrefix("dit") {
            router.threshold = 0.1
            let computes = try CachePolicy.learned(router).computes(steps: router.steps, sublayers: router.sublayers)
            let cached = stride(from: 1, to: router.steps, by: 2)
            #expect(cached.reduce(0) { $0 + computes[$1].count { $0 } } == expected.totals[0.1])
            #expect(stride(from: 0, to: router.steps, by: 2).allSatisfy { computes[$0].allSatisfy { $0 } })
        }
    }
}

@Suite struct CachePolicyTests {
    private func row(_ computes: [[Bool]]) -> String {
        computes.map { $0.allSatisfy { $0 } ? "F" : $0.contains(true) ? "p" : "-" }.joined()
    }

    /// F full, - nothing computed. Executed order: the first letter is the noisiest step.
    @Test func stepsAreCountedFromTheCleanEnd() throws {
        #expect(try row(CachePolicy.alternate.computes(steps: 6, sublayers: 4)) == "F-F-F-")
        // An odd number: the first step finds nothing kept, the second is a full one by its index.
        #expect(try row(CachePolicy.alternate.computes(steps: 7, sublayers: 4)) == "FF-F-F-")
        #expect(try row(CachePolicy.alternate.computes(steps: 1, sublayers: 4)) == "F")
        #expect(try row(CachePolicy.alternate.computes(steps: 2, sublayers: 4)) == "F-")
        #expect(try row(CachePolicy.none.computes(steps: 5, sublayers: 4)) == "FFFFF")
        #expect(try row(CachePolicy.interval(every: 3).computes(steps: 8, sublayers: 4)) == "F--F--F-")
        #expect(try row(CachePolicy.interval(every: 1).computes(steps: 4, sublayers: 4)) == "FFFF")
    }

    @Test(arguments: [4, 5, 6, 7])
    func aRouterActsOnEvenIndicesBelowTheFirst(_ steps: Int) throws {
        let router = try router(steps, 6)
        let computes = try CachePolicy.learned(router).computes(steps: steps, sublayers: 6)
        for executed in 0..<steps {
            let index = steps - 1 - executed
            let full = executed == 0 || index % 2 == 1
            #expect(computes[executed] == (full ? Array(repeating: true, count: 6) : router.computes(row: index)))
        }
    }

    @Test func aRandomShareIsDrawnAnewInEveryStepAndTheSameForASeed() throws {
        let policy = CachePolicy.random(ratio: 0.25, seed: 3)
        let computes = try policy.computes(steps: 20, sublayers: 56)
        for executed in stride(from: 1, to: 20, by: 2) { #expect(computes[executed].count { !$0 } == 14) }
        #expect(Set(stride(from: 1, to: 20, by: 2).map { computes[$0] }).count == 10)
        #expect(try computes == policy.computes(steps: 20, sublayers: 56))
        #expect(try computes != CachePolicy.random(ratio: 0.25, seed: 4).computes(steps: 20, sublayers: 56))
        #expect(try row(CachePolicy.random(ratio: 0, seed: 3).computes(steps: 4, sublayers: 8)) == "FFFF")
        #expect(try row(CachePolicy.random(ratio: 1, seed: 3).computes(steps: 4, sublayers: 8)) == "F-F-")
    }

    @Test func shufflingKeepsTheCountsOfTheRouter() throws {
        let router = try router(8, 12)
        let shuffled = try CachePolicy.shuffled(router, seed: 1).computes(steps: 8, sublayers: 12)
        let learned = try CachePolicy.learned(router).computes(steps: 8, sublayers: 12)
        #expect(shuffled.map { $0.count { $0 } } == learned.map { $0.count { $0 } } && shuffled != learned)
    }

    @Test func settingsThatCannotBeAreRefused() throws {
        func code(_ policy: CachePolicy) -> DiffError.Code? {
            do throws(DiffError) { _ = try policy.computes(steps: 4, sublayers: 6) } catch { return error.code }
            return nil
        }
        #expect(code(.interval(every: 0)) == .invalidArgument && code(.interval(every: -1)) == .invalidArgument)
        #expect(code(.random(ratio: 1.5, seed: 0)) == .invalidArgument)
        #expect(code(.random(ratio: .nan, seed: 0)) == .invalidArgument)
        let (long, narrow, fitting) = (try router(5, 6), try router(4, 5), try router(4, 6))
        #expect(code(.learned(long)) == .incompatible && code(.learned(narrow)) == .incompatible)
        #expect(code(.shuffled(long, seed: 0)) == .incompatible && code(.learned(fitting)) == nil)
        let tooMany = #expect(throws: DiffError.self) {
            try CachePolicy.alternate.computes(steps: 1_000_000, sublayers: 1_000_000)
        }
        #expect(tooMany?.code == .unsupported)
    }
}

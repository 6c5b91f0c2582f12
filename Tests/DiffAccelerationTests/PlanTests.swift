import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import TestSupport
import Testing

@Suite struct PlanTests {
    private func plan(_ text: String) throws -> Plan { try Plan(JSON(parsing: text, source: "plan"), source: "plan") }

    private func policy(_ text: String) throws -> CachePolicy? {
        (try plan(text).entries.first as? LayerCachePlan)?.policy
    }

    private func code(_ body: () throws -> Void) -> DiffError.Code? {
        do { try body() } catch { return (error as? DiffError)?.code }
        return nil
    }

    static var policies: [CachePolicy] {
        get throws {
            var numbers = Numbers(1)
            let router = try Router(logits: (0..<4).map { _ in numbers.floats(6, scale: 5) }, threshold: 0.3)
            return [
                .none, .alternate, .interval(every: 7), .random(ratio: 0.375, seed: 12), .learned(router),
                .shuffled(router, seed: 5),
            ]
        }
    }

    @Test func wordsAreThePlansTheyWriteOut() throws {
        let words: [(String, String)] = [
            ("none", #"{"method": "l2c", "policy": "none"}"#),
            ("alternate", #"{"method": "l2c", "policy": "alternate"}"#),
            ("interval:3", #"{"method": "l2c", "policy": "interval", "interval": 3}"#),
            ("random:0.25", #"{"method": "l2c", "policy": "random", "ratio": 0.25}"#),
            ("random:0.25:9", #"{"method": "l2c", "policy": "random", "ratio": 0.25, "seed": 9}"#),
            ("dkv:prefix", #"{"method": "dkv", "variant": "prefix"}"#),
            ("dkv:decode", #"{"method": "dkv", "variant": "decode"}"#),
            ("dkv:greedy:4:2", #"{"method": "dkv", "variant": "greedy", "refresh": 4, "window": 2}"#),
            ("depth:0,2-4", #"{"method": "depth", "keep": [0, 2, 3, 4]}"#), ("code", #"{"method": "code"}"#),
            ("code:2", #"{"method": "code", "draft_scales": 2}"#),
        ]
        for (word, json) in words { #expect(try Plan(word: word).json == plan(json).json, "\(word)") }
        let wrong = [
            "", ":", "interval", "interval:", "interval:0", "random:1.1", "random:nan", "random:0.5:4294967296", "dkv",
            "dkv:prefix:2",
            "dkv:decode:8:1", "dkv:greedy:1:1:1", "depth:4-2", "depth:-1", "depth:0,,1", "depth:9-99999999999",
            "code:0", "none:", "x",
            String(repeating: "a", count: 10_000), "interval:\u{1F600}",
        ]
        for word in wrong { #expect(code { _ = try Plan(word: word) } == .invalidArgument, "\(word.prefix(40))") }
        #expect(Plan.unknown("altrenate").contains("did you mean \"alternate\"?"))
        #expect(!Plan.unknown("photograph").contains("did you mean"))
        #expect("\(try Plan(word: "alternate"))" == "l2c" && "\(Plan())" == "plain model")
    }

    @Test func writtenPlansAreReadBackEqual() throws {
        for policy in try Self.policies {
            let before = Plan([LayerCachePlan(policy)])
            let text = before.json.serialized(pretty: true)
            let after = try plan(text)
            #expect(
                after.entries.count == 1 && after.entries[0] as? LayerCachePlan == LayerCachePlan(policy), "\(text)")
            #expect(after.json == before.json)
        }
        #expect(try plan(Plan().json.serialized()).entries.isEmpty)
    }

    @Test func aPlanMayBeOneEntryOrARouterFile() throws {
        #expect(try policy(#"{"method": "l2c", "policy": "alternate"}"#) == .alternate)
        #expect(try policy(#"{"method": "l2c", "policy": "interval", "interval": 4}"#) == .interval(every: 4))
        #expect(try policy(#"{"method": "l2c", "policy": "random", "ratio": 1}"#) == .random(ratio: 1, seed: 0))
        let router = try Router(logits: [[1, 2], [3, 4]], threshold: 0.9)
        #expect(
            try policy(#"{"logits": [[1, 2], [3, 4.0]], "official_threshold": 0.9, "model": "x"}"#) == .learned(router))
        #expect(
            try policy(#"{"logits": [[1, 2], [3, 4]], "official_threshold": 0.5, "threshold": 0.9}"#)
                == .learned(router))
        #expect(
            try policy(#"{"logits": [[1, 2]]}"#)
                == .learned(Router(logits: [[1, 2]], threshold: LayerCachePlan.defaultThreshold)))
        // What else a released file says is none of the plan's business.
        #expect(
            try policy(#"{"logits": [[1, 2], [3, 4]], "threshold": 0.9, "seed": "a", "ratio": 7, "block": 1}"#)
                == .learned(router))
        #expect(try plan("{}").entries.isEmpty)
        #expect(try plan(#"{"methods": []}"#).entries.isEmpty)
        #expect(Plan.methodNames.contains("l2c"))
    }

    @Test func aRouterMayStandInAFileBesideThePlan() throws {
        let json = try JSON(
            parsing: #"{"method": "l2c", "router": "r.json", "threshold": 0.25}"#, source: "plan")
        let plan = try Plan(json, source: "plan") { (name) throws(DiffError) in
            #expect(name == "r.json")
            return try JSON(parsing: #"{"logits": [[1, 2]], "official_threshold": 0.9}"#, source: name)
        }
        let expected = CachePolicy.learned(try Router(logits: [[1, 2]], threshold: 0.25))
        #expect((plan.entries.first as? LayerCachePlan)?.policy == expected)
        #expect(code { _ = try Plan(json, source: "plan") } == .unsupported)
    }

    @Test(arguments: [
        #"{"method": "nothing"}"#, #"{"method": "l2c"}"#, #"{"method": "l2c", "policy": "sometimes"}"#,
        #"{"method": "l2c", "policy": "interval"}"#, #"{"method": "l2c", "policy": "interval", "interval": 0}"#,
        #"{"method": "l2c", "policy": "random"}"#, #"{"method": "l2c", "policy": "random", "ratio": 2}"#,
        #"{"method": "l2c", "policy": "alternate", "tresholt": 1}"#, #"{"method": "l2c", "logits": 3}"#,
        #"{"method": "l2c", "logits": []}"#, #"{"method": "l2c", "logits": [[]]}"#,
        #"{"method": "l2c", "logits": [[1], [1, 2]]}"#,
        #"{"method": "l2c", "logits": [["x"]]}"#, #"{"method": "l2c", "logits": [[1]], "threshold": 2}"#,
        #"{"method": "l2c", "logits": [[1e39]]}"#, #"{"methods": 3}"#, #"{"methods": [3]}"#,
        #"{"methods": [], "extra": 1}"#,
        #"[]"#, #"{"something": 1}"#,
    ])
    func badPlansAreFormatErrors(_ text: String) throws {
        #expect(code { _ = try plan(text) } == .format, "\(text)")
    }

    @Test func plansAreCheckedAgainstTheModel() throws {
        var layout = SiteLayout(family: "dit")
        for index in 0..<3 {
            let block = layout.add("blocks.\(index)", .block)
            _ = layout.add("blocks.\(index).attn", .attention, in: block)
            _ = layout.add("blocks.\(index).mlp", .mlp, in: block)
        }
        for policy in try Self.policies { try Plan([LayerCachePlan(policy)]).check([layout]) }
        try Plan().check([layout])
        let narrow = LayerCachePlan(.learned(try Router(logits: [[1, 2]], threshold: 0.1)))
        #expect(code { try Plan([narrow]).check([layout]) } == .incompatible)
        let twice = Plan([LayerCachePlan(.alternate), LayerCachePlan(.none)])
        #expect(code { try twice.check([layout]) } == .incompatible)
        #expect(code { try Plan([LayerCachePlan(.alternate)]).check([SiteLayout(family: "vae")]) } == .incompatible)
        do { try Plan([narrow]).check([layout]) } catch {
            #expect(error.message.contains("l2c") && error.message.contains("2 columns"))
        }
    }

    @Test func moreMethodsThanAnyoneNeedsAreRefused() throws {
        let entry = #"{"method": "l2c", "policy": "none"}"#
        let text = "{\"methods\": [\(Array(repeating: entry, count: 65).joined(separator: ","))]}"
        #expect(code { _ = try plan(text) } == .format)
    }

    @Test func aLargeSeedSurvivesTheFile() throws {
        let before = LayerCachePlan(.random(ratio: 0.5, seed: UInt64(UInt32.max)))
        #expect(try plan(Plan([before]).json.serialized()).entries.first as? LayerCachePlan == before)
    }
}

import DiffAccel
import TestSupport
import Testing

@Suite struct TextTests {
    private let directory: ScratchDirectory

    init() throws { directory = try ScratchDirectory() }

    private func model(_ change: (inout TinyLanguageModel) -> Void = { _ in }) throws -> Model {
        var tiny = TinyLanguageModel()
        change(&tiny)
        return try Model(tiny.write(to: directory, as: "m\(tiny.isDream)\(tiny.isTied)\(tiny.kvHeads)\(tiny.seed)"))
    }

    private func generate(
        _ model: Model, _ plan: Plan = Plan(), threads: Int = 1, _ change: (inout SampleRequest) -> Void
    ) throws -> SampleResult {
        var text = SampleRequest(["tokens": [[3, 4, 5, 6, 7]]])
        text["length"] = 12
        change(&text)
        let request = text
        var options = SessionOptions()
        options.threads = threads
        return try model.session(plan, options).sample(request)
    }

    /// A batch of prompts of different lengths is its prompts run singly: tokens are equal whatever stands beside them.
    @Test(arguments: [false, true], [0, 0.8])
    func aBatchIsItsPrompts(_ isDream: Bool, _ temperature: Double) throws {
        let model = try model { $0.isDream = isDream }
        let prompts = [[3, 4, 5, 6, 7, 8, 9], [10], [], [11, 12, 13]]
        let plans = [Plan(), Plan([try KVCachePlan(.decode, refresh: 3)])]
        for plan in plans {
            let batch = try generate(model, plan, threads: 2) {
                ($0["tokens"], $0["temperature"], $0["seeds"]) = (prompts, temperature, [1, 2, 3, 4])
                if isDream { ($0["top_p"], $0["top_k"]) = (0.9, 20) }
            }
            for (index, prompt) in prompts.enumerated() {
                let single = try generate(model, plan) {
                    ($0["tokens"], $0["temperature"], $0["seeds"]) = ([prompt], temperature, [UInt64(index + 1)])
                    if isDream { ($0["top_p"], $0["top_k"]) = (0.9, 20) }
                }
                #expect(batch.tokens[index] == single.tokens[0], "prompt \(index)")
            }
        }
    }

    /// A cache that refreshes in every step is plain decoding.
    @Test func neutralIsPlain() throws {
        for isDream in [false, true] {
            let model = try model { $0.isDream = isDream }
            let plain = try generate(model) { $0["steps"] = 12 }
            let neutral = try generate(model, Plan([try KVCachePlan(.decode, refresh: 1)])) { $0["steps"] = 12 }
            #expect(plain.tokens == neutral.tokens)
            #expect(plain.statistics.steps.map(\.queryRows) == neutral.statistics.steps.map(\.queryRows))
        }
        let model = try model()
        let plain = try generate(model) { $0["order"] = "random" }
        let neutral = try generate(model, Plan([try KVCachePlan(.greedy, refresh: 1)])) { $0["order"] = "random" }
        #expect(plain.tokens == neutral.tokens)
    }

    @Test func everyVariantRunsAndFeedsLess() throws {
        for (variant, isDream, order) in [
            (KVCachePlan.Variant.decode, false, nil), (.decode, true, nil), (.greedy, false, "random"),
            (.prefix, false, nil), (.dual, false, nil), (.prefill, true, nil), (.pd, true, nil), (.prefix, true, nil),
            (.dual, true, nil),
        ] as [(KVCachePlan.Variant, Bool, String?)] {
            let model = try model { $0.isDream = isDream }
            let result = try generate(model, Plan([try KVCachePlan(variant, refresh: 4, window: 1)])) {
                $0["order"] = order
            }
            let rows = result.statistics.steps.reduce(0) { $0 + $1.queryRows }
            #expect(rows < 12 * 17, "\(variant) on \(isDream ? "Dream" : "LLaDA") computed \(rows)")
            #expect(result.tokens[0].allSatisfy { $0 >= 0 && $0 < 60 })
            #expect(result.statistics.allocationsAfterFirstStep == 0, "\(variant)")
        }
    }

    @Test func estimatesHoldAndSessionsRepeat() throws {
        for isDream in [false, true] {
            let model = try model { $0.isDream = isDream }
            var text = SampleRequest(["tokens": [[1, 2, 3], [4]]])
            (text["length"], text["temperature"]) = (9, 0.5)
            let request = text
            let session = try model.session(Plan([try KVCachePlan(.decode, refresh: 4)]))
            let estimate = try session.estimate(request)
            let first = try session.sample(request)
            #expect(first.statistics.peakBytes <= estimate.peak)
            #expect(estimate.cache > 0 && first.statistics.cacheBytes == estimate.cache)
            #expect(try session.sample(request).tokens == first.tokens)
            var options = SessionOptions()
            options.memoryLimit = estimate.peak / 2
            let small = try model.session(Plan(), options)
            #expect(throws: DiffError.self) { _ = try small.sample(request) }
        }
    }

    @Test func eventsTellWhatAppears() throws {
        let model = try model()
        var text = SampleRequest(["tokens": [[3, 4]]])
        (text["length"], text["steps"], text["block_length"]) = (8, 4, 4)
        let request = text
        var seen: [Int] = []
        let result = try model.session().sample(request) { event in
            for text in event.text?.texts ?? [] {
                seen += text.revealed
                #expect(text.sequence.count == 10)
            }
            return .continue
        }
        #expect(seen.sorted() == Array(2..<10))
        #expect(Set(seen.prefix(4)) == Set(2..<6), "blocks come from left to right")
        #expect(result.tokens[0].count == 8)
        #expect(throws: DiffError.cancelled) {
            _ = try model.session().sample(request) { $0.step == 2 ? .cancel : .continue }
        }
    }

    @Test func aTiedHeadAndSharedKeysWork() throws {
        for kvHeads in [1, 2, 4] {
            let model = try model { ($0.isTied, $0.kvHeads) = (true, kvHeads) }
            #expect(try generate(model) { _ in }.tokens[0].count == 12)
        }
    }

    /// Every number that f32 would turn into 0, infinity or something else than it says.
    @Test func numbersBeyondSinglePrecision() throws {
        for isDream in [false, true] {
            let model = try model { $0.isDream = isDream }
            let tiny = Double.leastNormalMagnitude
            for temperature in [1e-46, tiny, tiny / 4, .leastNonzeroMagnitude, 1e-31, 1e31, 1e39, 1e300, .infinity] {
                #expect(throws: DiffError.self) { _ = try generate(model) { $0["temperature"] = temperature } }
                if isDream {
                    #expect(throws: DiffError.self) {
                        _ = try generate(model) { $0["order_temperature"] = temperature }
                    }
                }
            }
            // The smallest that is taken chooses as none does; Dream is then equally sure of all positions.
            let sharpest = try generate(model) { $0["temperature"] = 1e-30 }.tokens
            #expect(try sharpest == generate(model) { if isDream { $0["top_k"] = 1 } }.tokens)
            #expect(throws: DiffError.self) { _ = try generate(model) { $0["threshold"] = 1e-46 } }
        }
        let (llada, dream) = (try model(), try model { $0.isDream = true })
        #expect(throws: DiffError.self) { _ = try generate(llada) { $0["guidance"] = 1e39 } }
        #expect(try generate(llada) { $0["guidance"] = 1e-46 }.tokens == generate(llada) { _ in }.tokens)
        let greedy = try generate(dream) { _ in }.tokens
        #expect(
            try generate(dream) { ($0["temperature"], $0["top_p"]) = (1, 1e-46) }.tokens[0].count == greedy[0].count)
        // The order follows the probability of the only candidate: 1, so that positions are revealed from left to right.
        let narrow = try generate(dream) { ($0["temperature"], $0["top_p"], $0["order"]) = (1, 1e-46, "maskgit_plus") }
        #expect(try narrow.tokens == generate(dream) { ($0["top_k"], $0["order"]) = (1, "maskgit_plus") }.tokens)
        #expect(try generate(dream) { $0["eps"] = 1e-46 }.tokens == generate(dream) { $0["eps"] = 1e-30 }.tokens)
    }

    @Test func theMaskTokenByOption() throws {
        var tiny = TinyLanguageModel()
        (tiny.isILLaDA, tiny.isTied) = (true, true)
        let path = try tiny.write(to: directory, as: "illada")
        let nameless = try Model(path)
        #expect(nameless.maskToken == nil && nameless.familyName == "illada" && nameless.chatTemplate == nil)
        let error = #expect(throws: DiffError.self) { _ = try generate(nameless) { _ in } }
        #expect(error?.message.contains("mask_token") ?? false)
        var options = ModelOptions()
        options.maskToken = 5
        let model = try Model(path, options)
        #expect(model.maskToken == 5)
        for plan in [Plan(), Plan([try KVCachePlan(.decode, refresh: 4)]), Plan([try KVCachePlan(.dual)])] {
            let result = try generate(model, plan) { ($0["block_length"], $0["tokens"]) = (6, [[7, 8], [9]]) }
            #expect(result.tokens.allSatisfy { $0.count == 12 && !$0.contains(5) })
        }
        for wrong in [-1, 61, 1 << 40] {
            options.maskToken = wrong
            #expect(throws: DiffError.self) { _ = try Model(path, options) }
        }
        for (key, value) in [("attention_bias", true), ("mlp_bias", true)] {
            tiny.changes = [key: .bool(value)]
            let refused = try tiny.write(to: directory, as: key)
            let error = #expect(throws: DiffError.self) { _ = try Model(refused) }
            #expect(error?.message.contains(key) ?? false)
        }
        tiny.changes = ["eos_token_id": .array([.integer(1), .integer(3)]), "mask_token_id": .integer(6)]
        let listed = try Model(tiny.write(to: directory, as: "list"))
        #expect(listed.endTokens == [1, 3] && listed.maskToken == 6)
    }

    @Test func mistakesAreRefused() throws {
        let (llada, dream) = (try model(), try model { $0.isDream = true })
        func refused(_ model: Model, _ plan: Plan = Plan(), _ change: @escaping (inout SampleRequest) -> Void) {
            #expect(throws: DiffError.self) { _ = try generate(model, plan, change) }
        }
        refused(llada) { $0["tokens"] = [] }
        refused(llada) { $0["tokens"] = [[61]] }
        refused(llada) { $0["tokens"] = [[-1]] }
        refused(llada) { $0["length"] = 0 }
        refused(llada) { $0["length"] = 1 << 30 }
        refused(llada) { $0["block_length"] = 5 }
        refused(llada) { ($0["block_length"], $0["steps"]) = (4, 4) }
        refused(llada) { $0["steps"] = 0 }
        refused(llada) { $0["order"] = "entropy" }
        refused(llada) { $0["temperature"] = -1 }
        refused(llada) { $0["temperature"] = Double.nan }
        refused(llada) { $0["threshold"] = 0 }
        refused(llada) { $0["top_k"] = 3 }
        refused(llada) { $0["seeds"] = [1, 2] }
        refused(dream) { $0["order"] = "random" }
        refused(dream) { $0["block_length"] = 5 }
        refused(dream) { ($0["block_length"], $0["steps"]) = (4, 3) }
        refused(dream) { ($0["block_length"], $0["order"]) = (4, "origin") }
        refused(dream) { ($0["threshold"], $0["order"]) = (0.9, "entropy") }
        refused(dream) { ($0["threshold"], $0["steps"]) = (0.9, 5) }
        refused(dream, Plan([try KVCachePlan(.dual)])) { $0["steps"] = 1 }
        refused(dream) { $0["guidance"] = 1 }
        refused(dream) { $0["top_p"] = 0 }
        refused(dream) { $0["eps"] = 1 }
        // The greedy order is drawn before a block; confidences are known only after.
        let greedy = Plan([try KVCachePlan(.greedy, refresh: 2)])
        refused(llada, greedy) { _ in }
        #expect(throws: DiffError.self) { _ = try llada.session().sample(SampleRequest(["labels": [1]])) }
        #expect(throws: DiffError.self) { _ = try llada.tokenizer }
    }
}

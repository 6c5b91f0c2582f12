import DiffAccel
import TestSupport
import Testing

/// Masks inside prompts: filled, told, and given back with the whole sequence, under every cache.
@Suite struct InfillingTests {
    private static let mask = 60
    private static let prompts = [
        [3, mask, 5, mask, mask, 8], [mask, 4, mask], [mask, mask, mask, mask],
        [9, 10, 11, mask, 12, 13, mask, 14, mask, 7],
    ]
    private let directory: ScratchDirectory
    private let llada: Model, dream: Model

    init() throws {
        directory = try ScratchDirectory()
        var tiny = TinyLanguageModel()
        llada = try Model(tiny.write(to: directory, as: "llada"))
        tiny.isDream = true
        dream = try Model(tiny.write(to: directory, as: "dream"))
    }

    private struct Way {
        let name: String
        let plan: Plan
        var order: String?
    }

    private func ways(_ isDream: Bool) throws -> [Way] {
        var ways = [
            Way(name: "plain", plan: Plan()), Way(name: "decode", plan: Plan([try KVCachePlan(.decode, refresh: 3)])),
            Way(name: "prefix", plan: Plan([try KVCachePlan(.prefix)])),
            Way(name: "dual", plan: Plan([try KVCachePlan(.dual)])),
        ]
        if isDream {
            ways.append(Way(name: "unRight", plan: Plan([try KVCachePlan(.decode, refresh: 4, shift: .unRight)])))
            ways.append(Way(name: "prefill", plan: Plan([try KVCachePlan(.prefill)])))
            ways.append(Way(name: "pd", plan: Plan([try KVCachePlan(.pd, refresh: 3)])))
        } else {
            ways.append(
                Way(name: "greedy", plan: Plan([try KVCachePlan(.greedy, refresh: 2, window: 1)]), order: "random"))
        }
        return ways
    }

    private func result(
        _ model: Model, _ plan: Plan = Plan(), _ observe: (SampleEvent) -> SampleDecision = { _ in .continue },
        _ change: (inout SampleRequest) -> Void
    ) throws -> SampleResult {
        var text = SampleRequest(["tokens": Self.prompts.json])
        text["length"] = 0
        change(&text)
        let request = text
        return try model.session(plan).sample(request, observe: observe)
    }

    @Test(arguments: [false, true], [0, 5])
    func masksAreFilledUnderEveryCache(_ isDream: Bool, _ length: Int) throws {
        let model = isDream ? dream : llada
        for way in try ways(isDream) {
            for block in [nil, 2] {
                var revealed = Array(repeating: [Int](), count: Self.prompts.count)
                let settings = { (text: inout SampleRequest) -> Void in
                    (text["length"], text["infill"], text["block_length"], text["order"]) = (
                        length, true, block, way.order
                    )
                    text["seeds"] = Array(0..<UInt64(Self.prompts.count))
                }
                let made = try result(
                    model, way.plan,
                    { event in
                        for text in event.text?.texts ?? [] { revealed[text.prompt] += text.revealed }
                        return .continue
                    }, settings)
                let place = "\(way.name), blocks \(String(describing: block))"
                #expect(made.tokens.allSatisfy { $0.count == length } && made.tokens.count == 4, "\(place)")
                #expect(made.statistics.allocationsAfterFirstStep == 0, "\(place)")
                for (index, prompt) in Self.prompts.enumerated() {
                    let sequence = made.sequences[index]
                    let masks = prompt.indices.filter { prompt[$0] == Self.mask }
                    #expect(sequence.count == prompt.count + length && !sequence.contains(Self.mask), "\(place)")
                    for (at, token) in prompt.enumerated() where token != Self.mask { #expect(sequence[at] == token) }
                    #expect(made.filled[index] == masks + Array(prompt.count..<prompt.count + length), "\(place)")
                    #expect(revealed[index].sorted() == made.filled[index], "\(place)")
                    #expect(Array(sequence.suffix(length)) == made.tokens[index])
                    let single = try result(model, way.plan) {
                        settings(&$0)
                        $0["tokens"] = [prompt]
                        $0["seeds"] = [UInt64(index)]
                    }
                    #expect(single.sequences[0] == sequence, "\(place): prompt \(index) beside others")
                }
            }
        }
    }

    /// A cache that feeds everything is the plain run, also where the first place is masked.
    @Test func neutralIsPlain() throws {
        for model in [llada, dream] {
            let plain = try result(model) { $0["infill"] = true }
            let neutral = try result(model, Plan([try KVCachePlan(.decode, refresh: 1)])) { $0["infill"] = true }
            #expect(plain.sequences == neutral.sequences)
        }
    }

    /// Without infilling the published budget holds: a step for each token of the text, for which the prompt's masks compete.
    @Test func thePublishedBudget() throws {
        let made = try result(llada) { ($0["tokens"], $0["length"]) = ([[Self.mask, 4, Self.mask]], 3) }
        #expect(made.sequences[0].count { $0 == Self.mask } == 2)
        #expect(made.filled[0].count == 3 && made.statistics.steps.count == 3)
        // Dream's last step reveals whatever is left.
        let dreams = try result(dream) { ($0["tokens"], $0["length"]) = ([[Self.mask, 4, Self.mask]], 3) }
        #expect(!dreams.sequences[0].contains(Self.mask))
    }

    @Test func thresholdsAndSteps() throws {
        for model in [llada, dream] {
            let sure = try result(model) { $0["threshold"] = 1e-30 }
            #expect(sure.statistics.steps.count == 1 && !sure.sequences.joined().contains(Self.mask))
            let unsure = try result(model) { $0["threshold"] = 1 }
            #expect(unsure.statistics.steps.count >= 4 && !unsure.sequences.joined().contains(Self.mask))
            let two = try result(model) { $0["steps"] = 2 }
            #expect(two.statistics.steps.count == 2 && !two.sequences.joined().contains(Self.mask))
        }
        // Four masks, a rate of two: what is not sure is left over for passes behind the last.
        let bounded = try result(dream) { ($0["tokens"], $0["threshold"], $0["steps"]) = ([Self.prompts[2]], 1, 2) }
        #expect(bounded.statistics.steps.count == 4)
        let even = try result(dream) { ($0["tokens"], $0["threshold"], $0["steps"]) = ([Self.prompts[2]], 1e-30, 2) }
        #expect(even.statistics.steps.count == 2)
    }

    @Test func nothingToFill() throws {
        for model in [llada, dream] {
            let error = #expect(throws: DiffError.self) {
                _ = try result(model) { $0["tokens"] = Self.prompts + [[3, 4]] }
            }
            #expect(error?.message.contains("prompt 4") ?? false)
            #expect(throws: DiffError.self) { _ = try result(model) { $0["tokens"] = [[]] } }
            #expect(throws: DiffError.self) { _ = try result(model) { $0["length"] = -1 } }
            #expect(throws: DiffError.self) { _ = try result(model) { ($0["block_length"], $0["steps"]) = (1, 3) } }
        }
        #expect(throws: DiffError.self) { _ = try llada.infillingPrompt("a _", blank: "_") }
    }

    @Test func estimatesHold() throws {
        for (model, isDream) in [(llada, false), (dream, true)] {
            for way in try ways(isDream) {
                var text = SampleRequest(["tokens": Self.prompts.json])
                (text["length"], text["infill"], text["temperature"], text["order"]) = (4, true, 0.5, way.order)
                let request = text
                let session = try model.session(way.plan)
                let estimate = try session.estimate(request)
                let made = try session.sample(request)
                #expect(made.statistics.peakBytes <= estimate.peak, "\(way.name)")
            }
        }
    }
}

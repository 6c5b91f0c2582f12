import DiffAccel
import TestSupport
import Testing

/// Deep features kept between full calls.
@Suite struct DeepCacheTests {
    private let directory: ScratchDirectory
    private let model: Model
    private let request: SampleRequest

    init() throws {
        directory = try ScratchDirectory()
        let tiny = TinyUNet()
        model = try Model(tiny.writePipeline(directory))
        var numbers = Numbers(3)
        request = SampleRequest(
            ["steps": 7, "sampler": "ddim", "guidance": 3],
            tensors: ["prompt_embeds": .floats(try numbers.tensor([2, 3, tiny.textWidth]))])
    }

    private func run(_ plan: Plan, _ execution: String = "batched") throws -> SampleResult {
        var options = SessionOptions()
        options.threads = 2
        var request = request
        request["guidance_execution"] = .string(execution)
        return try model.session(plan, options).sample(request)
    }

    private func plan(_ interval: Int, _ layers: Int = 1) throws -> Plan {
        Plan([try DeepCachePlan(interval: interval, layers: layers)])
    }

    private func same(_ a: SampleResult, _ b: SampleResult) -> Bool {
        a.latents.map { x in b.latents.map { sameBits(x.array, $0.array) } ?? false } ?? false
    }

    @Test func anIntervalOfOneIsTheBaseline() throws {
        let (plain, neutral) = (try run(Plan()), try run(plan(1)))
        #expect(same(neutral, plain) && neutral.statistics.flops == plain.statistics.flops)
        #expect(neutral.statistics.cacheBytes == 0)
    }

    /// The network has conv_in, one layer a level with a halving between, and two layers a level on the way up: 4 skips.
    @Test func theMoreLayersAreComputedTheCloserTheResult() throws {
        let plain = try run(Plan())
        let expected = try #require(plain.latents).array
        var (errors, flops): ([Float], [Double]) = ([], [])
        for layers in 1...3 {
            let result = try run(plan(2, layers))
            let found = try #require(result.latents).array
            errors.append(zip(found, expected).map { abs($0 - $1) }.max() ?? 0)
            flops.append(result.statistics.flops)
            #expect(result.statistics.allocationsAfterFirstStep == 0)
        }
        #expect(errors.allSatisfy { $0 > 0 })
        #expect(flops == flops.sorted() && flops[2] < plain.statistics.flops)
    }

    /// Full calls are the first and every second one after it; the calls between cost as much less as the shallow end is smaller.
    @Test func fullCallsAreAsOftenAsSaid() throws {
        let (plain, steps) = (try run(Plan()).statistics.steps, try run(plan(3)).statistics.steps)
        for (index, step) in steps.enumerated() {
            #expect(index % 3 == 0 ? step.flops == plain[index].flops : step.flops < 0.6 * plain[index].flops)
        }
    }

    @Test(arguments: ["lanes", "split"]) func lanesAreKeptApart(_ execution: String) throws {
        #expect(same(try run(plan(3), execution), try run(plan(3))))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        for layers in [4, 100] {
            let error = failure { _ = try model.session(plan(2, layers)) }
            #expect(error?.code == .incompatible && error?.message.contains("1...3") == true)
        }
        let dit = try Model(TinyDiT().write(directory))
        let error = failure { _ = try dit.session(plan(2)) }
        #expect(error?.code == .incompatible && error?.message.contains("skip connections") == true)
        for word in ["deepcache", "deepcache:0", "deepcache:2:0", "deepcache:x", "deepcache:2:1:1"] {
            #expect(failure { _ = try Plan(word: word) }?.code == .invalidArgument, "\(word)")
        }
        #expect(try Plan(word: "deepcache:4:2").json == plan(4, 2).json)
    }
}

import DiffAccel
import DiffCheckpoint
import DiffTensor
import Synchronization
import TestSupport
import Testing

/// Asynchronous denoising of quantised weights, of weights with low-rank updates, and before a decoder in tiles: the bits of one executor are
/// those of all, and what it is stacked with is in force.
@Suite struct AsyncCompositionTests {
    /// What the model is opened with.
    enum Change: String, CaseIterable {
        case int8, lora, both

        func options(_ update: String) -> ModelOptions {
            var options = ModelOptions()
            if self != .lora { options.weights = .int8 }
            if self != .int8 { options.settings.lora = [ModelSettings.LoRA(update, scale: 0.5)] }
            return options
        }
    }

    private let directory: ScratchDirectory
    private let plain: AsyncSubject
    /// A file of updates for layers of both components.
    private let update: String

    init() throws {
        directory = try ScratchDirectory()
        plain = try .pipeline(directory)
        update = try directory.file("lora.safetensors")
        var (numbers, tensors) = (Numbers(9), [String: Tensor]())
        for (place, width) in [("down_blocks.0", 8), ("mid_block", 16), ("up_blocks.1", 8)] {
            let name = "unet.\(place).attentions.0.transformer_blocks.0.attn1.to_q"
            tensors["\(name).lora_A.weight"] = try numbers.tensor([2, width])
            tensors["\(name).lora_B.weight"] = try numbers.tensor([width, 2])
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: update)
    }

    private func plan(_ executor: AsyncPlan.Executor, stride: Int) throws -> Plan {
        Plan([try AsyncPlan(components: 2, stride: stride, split: plain.balanced(2), executor: executor)])
    }

    /// The subject opened with `change`.
    private func subject(_ change: Change) throws -> AsyncSubject {
        AsyncSubject(
            name: change.rawValue, model: try Model(plain.model.path, change.options(update)), request: plain.request)
    }

    /// Rank 0's result of ranks that each open the model, with the weights of their own component.
    private func onRanks(_ change: Change, stride: Int, _ request: SampleRequest) throws -> SampleResult {
        let found = Mutex<SampleResult?>(nil)
        let plan = try plan(.mpi, stride: stride)
        let (path, options) = (plain.model.path, change.options(update))
        let whole = try subject(change).model.bytes
        let errors = try LocalRanks(stride + 1).perform { (group) throws(DiffError) in
            var (own, session) = (options, SessionOptions())
            (own.ranks, own.settings.ranks) = (group, plan.json)
            (session.ranks, session.threads) = (group, 1)
            let model = try Model(path, own)
            guard model.bytes < whole else { throw DiffError(.internal, "all weights on rank \(group.rank)") }
            let result = try model.session(plan, session).sample(request)
            if group.rank == 0 { found.withLock { $0 = result } }
        }
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        return try #require(found.withLock { $0 })
    }

    @Test(arguments: Change.allCases, [1, 2]) func executorsAgree(_ change: Change, _ stride: Int) throws {
        let subject = try subject(change)
        var request = subject.request
        (request["steps"], request["tile"]) = (6, 8)
        func pixels(_ result: SampleResult) throws -> [Float] { try #require(result.pixels).array }
        func run(_ subject: AsyncSubject, _ plan: Plan, threads: Int = 2) throws -> SampleResult {
            try subject.run(plan, threads: threads) { $0 = request }
        }
        let expected = try run(subject, plan(.sequential, stride: stride))
        #expect(expected.statistics.decoderTile == 8)
        for threads in 1...3 {
            let aside = try run(subject, plan(.threads, stride: stride), threads: threads)
            #expect(sameBits(aside.state, expected.state), "\(threads) threads")
            #expect(try sameBits(pixels(aside), pixels(expected)), "\(threads) threads")
        }
        let ranks = try onRanks(change, stride: stride, request)
        #expect(sameBits(ranks.state, expected.state))
        #expect(try sameBits(pixels(ranks), pixels(expected)))
        // Each has an effect of its own.
        #expect(try !sameBits(run(plain, plan(.sequential, stride: stride)).state, expected.state))
        #expect(try !sameBits(run(subject, Plan()).state, expected.state))
        if change == .both {
            for one in [Change.int8, .lora] {
                let alone = try run(self.subject(one), plan(.sequential, stride: stride))
                #expect(!sameBits(alone.state, expected.state), "\(one)")
            }
        }
        let whole = try subject.run(plan(.sequential, stride: stride)) {
            $0 = request
            $0["tile"] = "never"
        }
        #expect(sameBits(whole.state, expected.state))
        #expect(try !sameBits(pixels(whole), pixels(expected)))
    }

    @Test(arguments: [1, 3]) func otherFamiliesQuantised(_ number: Int) throws {
        let stored = try AsyncSubject.all(directory)[number]
        var options = ModelOptions()
        options.weights = .int8
        let int8 = AsyncSubject(
            name: stored.name, model: try Model(stored.model.path, options), request: stored.request)
        func run(_ subject: AsyncSubject, _ executor: AsyncPlan.Executor) throws -> [Float] {
            let split = try stored.balanced(2)
            return try subject.run(Plan([try AsyncPlan(components: 2, split: split, executor: executor)])).state
        }
        let expected = try run(int8, .sequential)
        #expect(try sameBits(run(int8, .threads), expected))
        #expect(try !sameBits(run(stored, .sequential), expected))
    }
}

import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// Routers of a U-Net as a host learns them: prompts from a file, on data and on the own trajectory, resumed, estimated, limited.
@Suite struct UNetTrainerTests {
    private struct TinyTraining {
        let directory: ScratchDirectory
        let path: String
        let members: [String: JSON]

        init(_ change: (inout TinyUNet) -> Void = { _ in }) throws {
            directory = try ScratchDirectory()
            var tiny = TinyUNet()
            change(&tiny)
            path = try tiny.write(directory)
            var numbers = Numbers(3)
            let latents = try numbers.tensor([12, tiny.inChannels, tiny.side, tiny.side])
            try directory.write(["latents": latents], as: "x.safetensors")
            try directory.write(integers: (0..<12).map { $0 % 3 }, [12], as: "y.npy")
            var prompts = [
                "prompt_embeds": try numbers.tensor([3, 5, tiny.textWidth]),
                "negative_prompt_embeds": try numbers.tensor([1, 5, tiny.textWidth]),
            ]
            if tiny.sizeFeatures > 0 {
                for (prefix, count) in [("", 3), ("negative_", 1)] {
                    prompts["\(prefix)pooled_prompt_embeds"] = try numbers.tensor([count, tiny.pooledWidth])
                    prompts["\(prefix)time_ids"] = try numbers.tensor([count, 6], scale: 20, around: 64)
                }
            }
            try directory.write(prompts, as: "prompts.safetensors")
            members = [
                "method": .string("router"), "sampling_steps": .integer(4), "steps": .integer(6), "batch": .integer(2),
                "seed": .integer(5), "learning_rate": .number(0.2),
                "prompts": .string("\(directory.path)/prompts.safetensors"),
                "data": .object([
                    "latents": .string("\(directory.path)/x.safetensors"),
                    "labels": .string("\(directory.path)/y.npy"),
                ]),
            ]
        }

        func settings(_ own: [String: JSON]) -> JSON {
            .object(members.merging(own) { $1 }.filter { $0.value != .null })
        }

        func trainer(_ own: [String: JSON], threads: Int = 1) throws -> Trainer {
            var options = TrainerOptions()
            options.threads = threads
            return try Trainer(path, settings(own), ModelOptions(), options)
        }
    }

    static let variants: [[String: JSON]] = [
        [:], ["trajectory": .string("own"), "guidance": .number(3)],
        ["trajectory": .string("own"), "data": .null, "recompute": .bool(true)],
    ]

    @Test(arguments: variants.indices)
    func aResumedRunEqualsOneThatNeverStopped(variant: Int) throws {
        let (training, settings) = (try TinyTraining(), Self.variants[variant])
        let whole = try training.trainer(settings)
        let losses = try whole.events().map(\.loss)
        let areFinite = losses.allSatisfy { $0.isFinite }
        #expect(losses.count == 6 && areFinite)
        let state = try training.directory.file("state.safetensors")
        let first = try training.trainer(settings, threads: 2)
        try first.run(3)
        try first.save(to: state)
        let second = try training.trainer(settings)
        try second.restore(from: state)
        #expect(try second.events().map(\.loss) == Array(losses.dropFirst(3)))
        try expectSameStates(whole, second, in: training.directory)
    }

    @Test(arguments: variants.indices)
    func theEstimateIsTheMeasuredPeak(variant: Int) throws {
        let training = try TinyTraining { ($0.sizeFeatures, $0.blocks) = (4, 2) }
        try expectEstimate(training.path, training.settings(Self.variants[variant]), "\(Self.variants[variant])")
    }

    @Test func whatIsLearnedIsAPlan() throws {
        let own: [String: JSON] = ["l1": .number(1e3), "steps": .integer(40)]
        let training = try TinyTraining()
        let trainer = try training.trainer(own)
        try trainer.run()
        let router = try reuse(trainer.plan())
        #expect(router.contains(true))
        // Room for the outputs of the coarser stream alone, in the middle: 16 tokens of 16 channels in f32.
        let limited = try training.trainer(own.merging(["cache_limit": .integer(16 * 16 * 4)]) { $1 })
        try limited.run()
        let kept = try reuse(limited.plan())
        #expect(kept.filter { $0 }.count == 1 && router.filter { $0 }.count > 1)
    }

    /// Whether each column of the router in `plan` is ever reused.
    private func reuse(_ plan: Plan) throws -> [Bool] {
        guard case .object(let members) = plan.json, case .array(let entries)? = members["methods"],
            case .object(let router)? = entries.first, case .array(let rows)? = router["logits"]
        else { return [] }
        let numbers = rows.map { row -> [Double] in
            guard case .array(let values) = row else { return [] }
            return values.map { $0.asDouble ?? 0 }
        }
        return (numbers.first ?? []).indices.map { column in numbers.contains { $0[column] < -2 } }
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let training = try TinyTraining()
        func code(_ own: [String: JSON]) -> DiffError.Code? { failure { _ = try training.trainer(own) }?.code }
        #expect(code(["prompts": .null]) == .format)
        #expect(code(["prompts": .string("\(training.directory.path)/none.safetensors")]) == .io)
        #expect(code(["prompts": .string("\(training.directory.path)/x.safetensors")]) == .format)
        #expect(code(["method": .string("prune")]) != nil)
        // Labels are numbers of prompts.
        try training.directory.write(integers: (0..<12).map { $0 % 5 }, [12], as: "y.npy")
        #expect(code([:]) == .invalidArgument)
        // What other networks are not told.
        let directory = try ScratchDirectory()
        let dit = try TinyUViT().write(directory)
        let error = failure { _ = try Trainer(dit, training.settings([:])) }
        #expect(error?.message.contains("prompts") == true)
    }
}

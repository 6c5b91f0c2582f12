import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// Routers of a U-ViT as a host learns them: on data and on the own trajectory, resumed, estimated, used.
@Suite struct UViTTrainerTests {
    private struct TinyTraining {
        let directory: ScratchDirectory
        let path: String
        let data: JSON

        init() throws {
            directory = try ScratchDirectory()
            let tiny = TinyUViT()
            path = try tiny.write(directory)
            var numbers = Numbers(3)
            let latents = try numbers.tensor([12, tiny.inChannels, tiny.inputSize, tiny.inputSize])
            try directory.write(["latents": latents], as: "x.safetensors")
            try directory.write(integers: (0..<12).map { $0 % tiny.classes }, [12], as: "y.npy")
            data = .object([
                "latents": .string("\(directory.path)/x.safetensors"), "labels": .string("\(directory.path)/y.npy"),
            ])
        }

        /// Settings of variant `own`, with data or without.
        func settings(_ own: [String: JSON]) -> JSON {
            var members: [String: JSON] = [
                "method": .string("router"), "sampling_steps": .integer(4), "steps": .integer(7), "batch": .integer(2),
                "seed": .integer(5), "learning_rate": .number(0.2), "data": data,
            ]
            members.merge(own) { $1 }
            return .object(members.filter { $0.value != .null })
        }

        func trainer(_ own: [String: JSON], threads: Int = 1) throws -> Trainer {
            var options = TrainerOptions()
            options.threads = threads
            return try Trainer(path, settings(own), ModelOptions(), options)
        }
    }

    private static let own: [String: JSON] = ["trajectory": .string("own"), "guidance": .number(2)]
    static let variants: [[String: JSON]] = [
        [:], own, own.merging(["data": .null, "guidance": .integer(1), "recompute": .bool(true)]) { $1 },
    ]

    @Test(arguments: variants.indices)
    func aResumedRunEqualsOneThatNeverStopped(variant: Int) throws {
        let (training, settings) = (try TinyTraining(), Self.variants[variant])
        let whole = try training.trainer(settings)
        let losses = try whole.events().map(\.loss)
        #expect(losses.count == 7 && losses.allSatisfy(\.isFinite))
        // At every position of a walk: the trajectory has three training steps.
        for stop in 1...4 {
            let state = try training.directory.file("state-\(stop).safetensors")
            let first = try training.trainer(settings, threads: 2)
            try first.run(stop)
            try first.save(to: state)
            let second = try training.trainer(settings)
            try second.restore(from: state)
            let rest = try second.events().map(\.loss)
            #expect(rest == Array(losses.dropFirst(stop)), "stopped at \(stop)")
            try expectSameStates(whole, second, in: training.directory)
        }
    }

    @Test(arguments: variants.indices)
    func theEstimateIsTheMeasuredPeak(variant: Int) throws {
        let training = try TinyTraining()
        try expectEstimate(training.path, training.settings(Self.variants[variant]), "\(Self.variants[variant])")
    }

    @Test func whatIsLearnedSamples() throws {
        let training = try TinyTraining()
        let trainer = try training.trainer(Self.own.merging(["l1": .number(1e3), "steps": .integer(60)]) { $1 })
        try trainer.run()
        var request = SampleRequest(["labels": [0, 4]])
        (request["steps"], request["guidance"]) = (4, 2)
        let statistics = try Model(training.path).session(trainer.plan()).sample(request).statistics
        // At such a penalty nothing is computed in the three calls that may reuse; the first call of all and the midpoints are full.
        #expect(statistics.steps.map(\.sites.reused) == [0, 0, 10, 0, 10, 0, 10, 0])
    }
}

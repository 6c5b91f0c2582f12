import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// Trainers as a host uses them: every method, resumed runs, exports, refusals.
@Suite struct TrainerTests {
    /// A tiny model with data for it.
    struct TinyTraining {
        let tiny: Tiny
        let data: JSON

        init(samples: Int = 24, edit: (inout [Float], inout [Float]) -> Void = { _, _ in }) throws {
            var dit = TinyDiT()
            dit.depth = 4
            tiny = try Tiny(dit)
            var numbers = Numbers(3)
            let shape = try Shape([samples, dit.inChannels, dit.inputSize, dit.inputSize])
            var latents = numbers.floats(shape.count)
            var labels = (0..<samples).map { Float($0 % dit.classes) }
            edit(&latents, &labels)
            let folder = tiny.directory
            try folder.write(["latents": Tensor(latents, shape)], as: "x.safetensors")
            // Labels are integers in files; an f32 tensor must be refused, so they go to a NumPy file.
            try folder.write(integers: labels.map { Int($0) }, [samples], as: "y.npy")
            data = .object([
                "latents": .string("\(folder.path)/x.safetensors"), "labels": .string("\(folder.path)/y.npy"),
            ])
        }

        func settings(_ method: String, _ more: [String: JSON] = [:]) -> JSON {
            var members: [String: JSON] = [
                "method": .string(method), "data": data, "steps": .integer(6), "batch": .integer(3),
                "seed": .integer(5),
            ]
            members.merge(more) { $1 }
            return .object(members)
        }

        func trainer(_ method: String, _ more: [String: JSON] = [:], threads: Int = 1) throws -> Trainer {
            var options = TrainerOptions()
            options.threads = threads
            return try Trainer(tiny.path, settings(method, more), ModelOptions(), options)
        }
    }

    /// Settings of every method and variant.
    static let variants: [(String, [String: JSON])] = [
        ("router", ["sampling_steps": .integer(4)]),
        ("router", ["sampling_steps": .integer(7), "period": .integer(3), "straight_through": .number(0.5)]),
        (
            "router",
            [
                "sampling_steps": .integer(5), "trajectory": .string("own"), "guidance": .number(3),
                "period": .integer(2),
            ]
        ),
        ("router", ["sampling_steps": .integer(6), "trajectory": .string("own"), "period": .integer(3)]),
        ("prune", ["pattern": .string("1:2"), "rank": .integer(2)]),
        (
            "prune",
            ["groups": .array([[2, 3], [1, 1]].map { .array($0.map { .integer($0) }) }), "update": .string("full")]
        ),
        ("prune", ["pattern": .string("2:4"), "update": .string("gates"), "recompute": .bool(true)]),
        ("prune", ["rule": .string("similarity"), "keep_count": .integer(2)]),
        ("prune", ["rule": .string("sensitivity"), "keep_count": .integer(2)]),
        ("finetune", [:]),
        ("finetune", ["start": .string("scratch"), "warmup": .integer(2), "weight_decay": .number(0.1)]),
    ]

    @Test(arguments: variants.indices)
    func aResumedRunEqualsOneThatNeverStopped(variant: Int) throws {
        let (method, more) = Self.variants[variant]
        let training = try TinyTraining()
        let whole = try training.trainer(method, more)
        let losses = try whole.events().map(\.loss)
        #expect(losses.count == 6 && losses.allSatisfy(\.isFinite))

        let state = try training.tiny.directory.file("state.safetensors")
        let first = try training.trainer(method, more, threads: 2)
        try first.run(2)
        try first.save(to: state)
        let second = try training.trainer(method, more)
        try second.restore(from: state)
        #expect(second.step == 2)
        let rest = try second.events().map(\.loss)
        #expect(rest == Array(losses.dropFirst(2)), "\(method) \(more)")
        // Memory is that of the run, the rest is what was learned.
        func learned(_ trainer: Trainer) throws -> JSON {
            guard case .object(var members) = try trainer.describe() else { return .null }
            members["bytes"] = nil
            return .object(members)
        }
        #expect(try learned(second) == learned(whole))
        try expectSameStates(whole, second, in: training.tiny.directory)
    }

    @Test(arguments: variants.indices)
    func theEstimateIsTheMeasuredPeak(variant: Int) throws {
        let (method, more) = Self.variants[variant]
        let training = try TinyTraining()
        try expectEstimate(training.tiny.path, training.settings(method, more), "\(method) \(more)")
    }

    @Test func aMethodThatAFamilyDoesNotHaveIsRefusedNamingThoseItHas() throws {
        let tiny = try Tiny(decoder: TinyAutoencoder())
        let settings = JSON.object(["method": .string("specialise")])
        let refused = failure { _ = try Trainer(tiny.path, settings) }
        #expect(refused?.code == .unsupported)
        #expect(refused?.message.contains("it has router, prune, finetune, and \"specialise\" trains var") == true)
        let decoder = failure { _ = try Trainer("\(tiny.path)/vae", settings) }
        #expect(decoder?.code == .unsupported && decoder?.message.contains("it has none") == true)
    }

    @Test func statesAreWrittenAndResumedByThemselves() throws {
        let training = try TinyTraining()
        let state = try training.tiny.directory.file("auto.safetensors")
        let more: [String: JSON] = [
            "sampling_steps": .integer(4), "state": .string(state), "save_every": .integer(2), "resume": .bool(true),
        ]
        let first = try training.trainer("router", more)
        var seen = 0
        let stopped = failure {
            try first.run { _ in
                seen += 1
                return seen == 3 ? .cancel : .continue
            }
        }
        #expect(stopped?.code == .cancelled && first.step == 3)
        #expect(try training.trainer("router", more).step == 3, "a stopped run writes its state")
        var fresh = more
        fresh["resume"] = .bool(false)
        #expect(
            failure { _ = try training.trainer("router", fresh) }?.code == .invalidArgument,
            "a state is not overwritten unasked")
        var other = more
        other["l1"] = .number(0.5)
        let error = failure { _ = try training.trainer("router", other) }
        #expect(error?.code == .incompatible && error?.message.contains("\"l1\"") == true)
    }

    @Test func whatIsLearnedRuns() throws {
        let training = try TinyTraining()
        let router = try training.trainer("router", ["sampling_steps": .integer(4), "threshold": .number(0.6)])
        try router.run()
        let session = try training.tiny.model.session(router.plan())
        #expect(try session.sample(request(steps: 4)).statistics.sites.reused > 0)

        let pruned = try training.trainer("prune", ["pattern": .string("1:2")])
        try pruned.run()
        let folder = "\(training.tiny.directory.path)/pruned"
        try pruned.export(checkpoint: folder)
        let child = try Model(folder)
        #expect(child.layout.blockCount == 2)
        // The plan and the child are the same network.
        let planned = try training.tiny.model.session(pruned.plan()).sample(request(steps: 4))
        let alone = try child.session().sample(request(steps: 4))
        #expect(sameBits(planned.latents?.array ?? [], alone.latents?.array ?? [1]))

        var options = TrainerOptions()
        options.threads = 1
        let tuned = try Trainer(
            folder,
            training.settings(
                "finetune",
                [
                    "distillation": .string("masked"), "teacher": .string(training.tiny.path), "dtype": .string("bf16"),
                    "groups": .array([.array([.integer(1), .integer(2)]), .array([.integer(1), .integer(2)])]),
                ]), ModelOptions(), options)
        try tuned.run()
        let out = "\(training.tiny.directory.path)/tuned"
        try tuned.export(checkpoint: out)
        #expect(try Model(out).session().sample(request(steps: 4)).latents?.array.allSatisfy(\.isFinite) == true)
        #expect(failure { _ = try tuned.plan() }?.code == .unsupported)
        #expect(failure { try router.export(checkpoint: out) }?.code == .unsupported)
    }

    @Test func aFullPatternChangesNothing() throws {
        let training = try TinyTraining()
        let trainer = try training.trainer("prune", ["pattern": .string("4:4"), "update": .string("gates")])
        try trainer.run()
        let planned = try training.tiny.model.session(trainer.plan()).sample(request())
        let plain = try training.tiny.session().sample(request())
        #expect(sameBits(planned.latents?.array ?? [], plain.latents?.array ?? [1]))
    }

    @Test func aRouterThatReusesNothingFollowsThePlainTrajectory() throws {
        // With a threshold of 0 everything is computed: states of the own trajectory are those of sampling, so the student's error
        // comes from its soft scores alone and vanishes as they go to 1.
        let training = try TinyTraining()
        let more: [String: JSON] = [
            "sampling_steps": .integer(4), "trajectory": .string("own"), "threshold": .number(0), "l1": .number(0),
            "learning_rate": .number(2), "clamp": .number(30), "steps": .integer(60),
        ]
        let trainer = try training.trainer("router", more)
        var errors: [Double] = []
        try trainer.run { event in
            errors.append(event.terms["error"] ?? .infinity)
            return .continue
        }
        let (first, last) = (errors.prefix(4).reduce(0, +), errors.suffix(4).reduce(0, +))
        #expect(last < 0.2 * first)
        #expect(try trainer.plan().entries.count == 1)
    }

    @Test func aCacheLimitLeavesAsManySubLayers() throws {
        let training = try TinyTraining()
        let each = training.tiny.dit.grid * training.tiny.dit.grid * training.tiny.dit.width * 4
        for columns in [0, 1, 3, 100] {
            let trainer = try training.trainer(
                "router",
                ["sampling_steps": .integer(4), "threshold": .number(0.99), "cache_limit": .integer(columns * each)])
            guard let entry = try trainer.plan().entries.first as? LayerCachePlan,
                case .learned(let router) = entry.policy
            else { return #expect(Bool(false)) }
            let cached = (0..<4).filter { !router.isFull($0) }.map { router.computes(row: $0) }
            let reused = (0..<8).count { column in cached.contains { !$0[column] } }
            #expect(reused == min(columns, 8))
        }
    }

    @Test(arguments: [
        ("router", "sampling_steps", JSON.integer(1), DiffError.Code.format),
        ("router", "period", .integer(21), .invalidArgument),
        ("router", "l1", .string("x"), .format), ("router", "batch", .integer(0), .format),
        ("router", "unknown", .integer(0), .format), ("router", "trajectory", .string("other"), .format),
        ("prune", "pattern", .string("1:3"), .format), ("prune", "pattern", .string("3:2"), .format),
        ("prune", "groups", .array([.array([.integer(1), .integer(2)])]), .invalidArgument),
        ("prune", "groups", .array([.integer(1)]), .format),
        ("prune", "rule", .string("best"), .format), ("finetune", "distillation", .string("masked"), .format),
        ("finetune", "distillation", .string("logits"), .format),
        ("finetune", "learning_rate", .array([.integer(1)]), .format),
        ("other", "steps", .integer(1), .format),
    ])
    func badSettingsNameTheirPlace(method: String, name: String, value: JSON, code: DiffError.Code) throws {
        let training = try TinyTraining()
        var more: [String: JSON] = [name: value]
        if method == "prune", name == "unknown" { more["pattern"] = .string("1:2") }
        let error = failure { _ = try training.trainer(method, more) }
        #expect(error?.code == code, "\(error.map { "\($0.code) \($0.message)" } ?? "no error")")
        #expect((error?.message.utf8.count ?? 0) > 10)
    }

    @Test func badDataAreRefused() throws {
        let nan = try TinyTraining { latents, _ in latents[777] = .nan }
        let trainer = try nan.trainer("finetune")
        let error = failure { try trainer.run() }
        #expect(error?.code == .notFinite && error?.message.contains("sample 3") == true)
        let step = trainer.step
        #expect(
            failure { try trainer.run() }?.code == .notFinite && trainer.step == step,
            "the trainer stands where it stood")
        let label = try TinyTraining { _, labels in labels[7] = 6 }
        #expect(failure { _ = try label.trainer("finetune") }?.message.contains("label 6 at position 7") == true)
        let training = try TinyTraining()
        for wrong in [
            JSON.object(["path": .string("\(training.tiny.directory.path)/x.safetensors")]),
            .object(["latents": .string("\(training.tiny.directory.path)/none.npy"), "labels": .string("y")]),
            .object(["latents": .string("\(training.tiny.directory.path)/y.npy"), "labels": .string("y")]),
            .object([:]),
            .object(["other": .integer(1)]), .integer(3),
        ] {
            #expect(failure { _ = try training.trainer("finetune", ["data": wrong]) } != nil, "\(wrong)")
        }
    }

    @Test func memoryStaysOverManySteps() throws {
        for (method, more) in [
            ("router", ["sampling_steps": JSON.integer(4)]), ("prune", ["pattern": .string("1:2")]), ("finetune", [:]),
        ] {
            let training = try TinyTraining()
            var long = more
            long["steps"] = .integer(200)
            let trainer = try training.trainer(method, long)
            func used() throws -> JSON? {
                guard case .object(let members) = try trainer.describe() else { return nil }
                return members["bytes"]
            }
            try trainer.run(20)
            let before = try used()
            try trainer.run()
            #expect(try used() == before && trainer.step == 200, "\(method)")
        }
    }
}

extension Storage {
    /// The bytes, for comparing files.
    var array: [UInt8] {
        guard let base else { return [] }
        return Array(UnsafeRawBufferPointer(start: base, count: byteCount))
    }
}

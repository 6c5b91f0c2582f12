import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// Specialised fine-tuning as a host uses it: drafters and refiners from tokens and from pictures, resumed, exported, refused.
@Suite struct SpecialisedTrainerTests {
    /// A drafter with its VQ-VAE, a bare refiner, and data for both.
    struct Pair {
        let directory: ScratchDirectory
        let drafter, refiner: String
        let tiny = TinyVAR()

        init(samples: Int = 10, edit: (inout [Int], inout [Int]) -> Void = { _, _ in }) throws {
            directory = try ScratchDirectory()
            drafter = try tiny.write(directory)
            var small = TinyVAR()
            (small.width, small.depth, small.seed) = (16, 1, 3)
            refiner = try small.write(directory, as: "refiner", codes: false)
            var numbers = Numbers(4)
            var tokens = (0..<samples * tiny.tokens).map { _ in Int(numbers.bits() % UInt64(tiny.vocabulary)) }
            var labels = (0..<samples).map { $0 % tiny.classes }
            edit(&tokens, &labels)
            try directory.write(integers: tokens, [samples, tiny.tokens], as: "x.npy")
            try directory.write(integers: labels, [samples], as: "y.npy")
            try directory.write(["images": numbers.tensor([samples, 3, 4, 4])], as: "pictures.safetensors")
        }

        var data: JSON { files("tokens", "x.npy") }
        var pictures: JSON { files("images", "pictures.safetensors") }

        func files(_ kind: String, _ name: String, labels: String = "y.npy") -> JSON {
            .object([
                kind: .string("\(directory.path)/\(name)"), "labels": .string("\(directory.path)/\(labels)"),
            ])
        }

        func settings(_ role: String, _ more: [String: JSON] = [:]) -> JSON {
            var members: [String: JSON] = [
                "method": .string("specialise"), "role": .string(role), "draft_scales": .integer(2), "data": data,
                "steps": .integer(6), "batch": .integer(3), "seed": .integer(5), "learning_rate": .number(1e-3),
            ]
            if role == "refiner" { members["teacher"] = .string(drafter) }
            members.merge(more) { $1 }
            return .object(members.filter { $0.value != .null })
        }

        func path(_ role: String) -> String { role == "refiner" ? refiner : drafter }

        func trainer(_ role: String, _ more: [String: JSON] = [:], threads: Int = 1) throws -> Trainer {
            var options = TrainerOptions()
            options.threads = threads
            return try Trainer(path(role), settings(role, more), ModelOptions(), options)
        }
    }

    /// Roles and what is changed; `images` stands for the data of pictures.
    static let variants: [(String, [String: JSON])] = [
        ("drafter", [:]), ("drafter", ["images": .null, "draft_scales": .integer(3)]),
        ("drafter", ["draft_scales": .integer(1), "recompute": .bool(true)]),
        ("drafter", ["draft_scales": .integer(4), "label_smoothing": .number(0.1)]), ("refiner", [:]),
        ("refiner", ["images": .null, "alpha": .number(0.5), "temperature": .number(2), "warmup": .integer(3)]),
        ("refiner", ["alpha": .integer(0), "vae": .string("vae"), "teacher": .null]),
    ]

    private func prepared(_ variant: Int, _ pair: Pair) -> (role: String, more: [String: JSON]) {
        var (role, more) = Self.variants[variant]
        if more.removeValue(forKey: "images") != nil { more["data"] = pair.pictures }
        if more["vae"] != nil { more["vae"] = .string("\(pair.drafter)/vae") }
        return (role, more)
    }

    @Test(arguments: variants.indices)
    func aResumedRunEqualsOneThatNeverStopped(variant: Int) throws {
        let pair = try Pair()
        let (role, more) = prepared(variant, pair)
        let whole = try pair.trainer(role, more)
        let events = try whole.events()
        #expect(events.count == 6 && events.allSatisfy { $0.loss.isFinite && $0.gradientNorm > 0 })
        #expect(
            events[0].terms.keys.sorted()
                == (role == "refiner" && more["alpha"] != .integer(0) ? ["ce", "kl"] : ["ce"]))
        let state = try pair.directory.file("state.safetensors")
        let first = try pair.trainer(role, more, threads: 2)
        try first.run(2)
        try first.save(to: state)
        let second = try pair.trainer(role, more)
        try second.restore(from: state)
        let rest = try second.events().map(\.loss)
        #expect(rest == events.dropFirst(2).map(\.loss))
        try expectSameStates(whole, second, in: pair.directory)
        #expect(try whole.evaluate(batches: 2) == second.evaluate(batches: 2))
    }

    @Test(arguments: variants.indices)
    func theEstimateIsTheMeasuredPeak(variant: Int) throws {
        let pair = try Pair()
        let (role, more) = prepared(variant, pair)
        try expectEstimate(pair.path(role), pair.settings(role, more), "\(role) \(more)")
    }

    @Test func lossesFall() throws {
        let pair = try Pair(samples: 4)
        let long: [String: JSON] = [
            "steps": .integer(60), "batch": .integer(4), "label_dropout": .integer(0), "learning_rate": .number(3e-3),
        ]
        for (role, name) in [("drafter", "ce"), ("refiner", "kl")] {
            let trainer = try pair.trainer(role, long)
            func measured() throws -> Double {
                guard case .object(let measures) = try trainer.evaluate(batches: 1) else { return .nan }
                #expect(measures["loss"] == measures[name])
                return measures["loss"]?.asDouble ?? .nan
            }
            let before = try measured()
            try trainer.run()
            #expect(try measured() < 0.7 * before, "\(role)")
        }
    }

    @Test func whatIsLearnedDraftsAndRefines() throws {
        let pair = try Pair()
        let (drafter, refiner) = (
            try pair.trainer("drafter"), try pair.trainer("refiner", ["dtype": .string("stored")])
        )
        try drafter.run()
        try refiner.run()
        let folders = ["drafter", "refiner"].map { "\(pair.directory.path)/tuned-\($0)" }
        try drafter.export(checkpoint: folders[0])
        try refiner.export(checkpoint: folders[1])
        #expect(failure { _ = try drafter.plan() }?.code == .unsupported)
        for (folder, source) in zip(folders, [pair.drafter, pair.refiner]) {
            let (new, old) = (try Checkpoint.open(path: folder), try Checkpoint.open(path: source))
            #expect(new.tensors.names == old.tensors.names)
            #expect(try new.hasSubdirectory("vae") == old.hasSubdirectory("vae"))
            // Buffers of zeros stay, everything else has moved.
            let name = "blocks.0.attn."
            #expect(try new.tensors.floats("\(name)zero_k_bias") == old.tensors.floats("\(name)zero_k_bias"))
            for part in [
                "pos_1LC", "pos_start", "lvl_embed.weight", "\(name)scale_mul_1H11", "\(name)q_bias", "head.bias",
            ] {
                #expect(try new.tensors.floats(part) != old.tensors.floats(part), "\(part)")
            }
            guard case .object(let config)? = new.config, case .object(let note)? = config["specialised"] else {
                return #expect(Bool(false), "no note")
            }
            #expect(note["draft_scales"] == .integer(2) && config["sampling"] != nil)
        }
        let model = try Model(folders[0])
        let plan = Plan([CollaborativePlan(refiner: folders[1], draftScales: 2)])
        let result = try model.session(plan).sample(SampleRequest(["labels": [1, 4]]))
        #expect(result.images?.byteCount == 2 * 4 * 4 * 3)
        // Its VQ-VAE is that of the original.
        let part = "quantize.embedding.weight"
        let (a, b) = (
            try Checkpoint.open(path: "\(folders[0])/vae"), try Checkpoint.open(path: "\(pair.drafter)/vae")
        )
        #expect(try a.tensors.floats(part) == b.tensors.floats(part) && a.tensors.names == b.tensors.names)
    }

    @Test(arguments: [
        ("drafter", "role", JSON.string("other"), DiffError.Code.format, "role"),
        ("drafter", "role", .null, .format, "role"), ("drafter", "draft_scales", .integer(0), .format, "draft_scales"),
        ("drafter", "draft_scales", .null, .format, "draft_scales"),
        ("drafter", "draft_scales", .integer(5), .invalidArgument, "draft_scales"),
        ("refiner", "draft_scales", .integer(4), .invalidArgument, "draft_scales"),
        ("drafter", "teacher", .string("x"), .format, "teacher"), ("drafter", "alpha", .number(0.5), .format, "alpha"),
        ("drafter", "temperature", .number(2), .format, "temperature"),
        ("refiner", "teacher", .null, .format, "teacher"), ("refiner", "teacher", .string("/no/such"), .io, "/no/such"),
        ("refiner", "alpha", .number(1.5), .format, "alpha"),
        ("refiner", "temperature", .integer(0), .format, "temper"),
        ("refiner", "vae", .string("/no/such"), .io, "/no/such"), ("refiner", "data", .null, .format, "data"),
        ("drafter", "learning_rate", .array([.integer(1)]), .format, "learning_rate"),
        ("drafter", "label_smoothing", .number(-0.1), .format, "label_smoothing"),
        ("drafter", "pattern", .string("1:2"), .format, "pattern"),
        ("drafter", "method", .string("finetune"), .format, "no option \""),
    ])
    func badSettingsNameTheirPlace(
        role: String, name: String, value: JSON, code: DiffError.Code, part: String
    ) throws {
        let pair = try Pair()
        let error = failure { _ = try pair.trainer(role, [name: value]) }
        #expect(error?.code == code && error?.message.contains(part) == true, "\(error?.message ?? "no error")")
    }

    @Test func methodsBelongToFamilies() throws {
        let pair = try Pair()
        let error = failure {
            _ = try Trainer(pair.drafter, .object(["method": .string("router")]), ModelOptions(), TrainerOptions())
        }
        #expect(error?.code == .unsupported && error?.message.contains("dit") == true)
        let tiny = try Tiny()
        let other = failure { _ = try Trainer(tiny.path, pair.settings("drafter")) }
        #expect(other?.code == .unsupported && other?.message.contains("var") == true)
        let bare = failure {
            _ = try Trainer(pair.refiner, pair.settings("drafter"), ModelOptions(), TrainerOptions())
        }
        #expect(bare?.code == .format && bare?.message.contains("vae") == true)
    }

    @Test func badDataAreRefused() throws {
        for token in [-1, 24, Int.max] {
            let pair = try Pair { tokens, _ in tokens[77] = token }
            let trainer = try pair.trainer("drafter")
            let error = failure { try trainer.run() }
            #expect(error?.code == .invalidArgument && error?.message.contains("sample 2: token \(token)") == true)
            let step = trainer.step
            #expect(failure { try trainer.run() } != nil && trainer.step == step, "the trainer stands where it stood")
        }
        let label = try Pair { _, labels in labels[7] = 6 }
        #expect(failure { _ = try label.trainer("drafter") }?.message.contains("label 6 at position 7") == true)
        let pair = try Pair()
        let folder = pair.directory
        var values = [Float](repeating: 0, count: 10 * 48)
        values[50] = .nan
        try folder.write(["images": Tensor(values, Shape(10, 3, 4, 4))], as: "nan.safetensors")
        try folder.write(["images": Tensor(values, Shape(10, 4, 4, 3))], as: "last.safetensors")
        try folder.write(["images": Tensor(values, Shape(10, 3, 2, 8))], as: "long.safetensors")
        try folder.write(integers: [Int](repeating: 0, count: 290), [10, 29], as: "few.npy")
        try folder.write(integers: [0, 1], [2], as: "two.npy")
        let broken = try pair.trainer("drafter", ["data": pair.files("images", "nan.safetensors")])
        let error = failure { try broken.run() }
        #expect(error?.code == .notFinite && error?.message.contains("sample 1") == true)
        for (data, code) in [
            (pair.files("images", "last.safetensors"), DiffError.Code.shape),
            (pair.files("images", "long.safetensors"), .shape), (pair.files("images", "x.npy"), .shape),
            (pair.files("tokens", "few.npy"), .shape), (pair.files("tokens", "y.npy"), .shape),
            (pair.files("tokens", "pictures.safetensors"), .format), (pair.files("tokens", "none.npy"), .io),
            (pair.files("tokens", "x.npy", labels: "two.npy"), .shape), (pair.files("latents", "x.npy"), .format),
            (.object([:]), .format), (.object(["tokens": .string("x")]), .format), (.integer(1), .format),
            (.object(["path": .string("\(folder.path)/pictures.safetensors")]), .format),
            (.object(["path": .string("\(folder.path)/x.npy")]), .shape),
        ] {
            let error = failure { _ = try pair.trainer("drafter", ["data": data]) }
            #expect(error?.code == code, "\(data): \(error?.message ?? "no error")")
        }
    }

    @Test func memoryStaysOverManySteps() throws {
        let pair = try Pair()
        for (role, data) in [("drafter", pair.pictures), ("refiner", pair.data)] {
            let trainer = try pair.trainer(role, ["steps": .integer(60), "data": data])
            func used() throws -> JSON? {
                guard case .object(let members) = try trainer.describe() else { return nil }
                return members["bytes"]
            }
            try trainer.run(10)
            let before = try used()
            try trainer.run()
            #expect(try used() == before && trainer.step == 60, "\(role)")
        }
    }
}

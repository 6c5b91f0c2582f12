import DiffAccel
import TestSupport
import Testing

/// The model setting `precision`. What needs bf16 is tested where the processor has it.
@Suite struct PrecisionTests {
    private let directory: ScratchDirectory
    private static let hasBrain = Precision.bf16.isSupported

    init() throws { directory = try ScratchDirectory() }

    private func options(_ precision: String, _ weights: WeightType = .stored) throws -> ModelOptions {
        var options = ModelOptions()
        options.settings = try ModelSettings(["precision": .string(precision)])
        options.weights = weights
        return options
    }

    private func fact(_ model: Model) throws -> String {
        try JSONObject(model.description, source: "description").string("precision")
    }

    /// The neutral setting is the default: the same bits, and a name for them.
    @Test func plainIsTheDefault() throws {
        let path = try TinyDiT().write(directory)
        let (plain, named) = (try Model(path), try Model(path, options("f32")))
        #expect(try fact(plain) == "f32" && fact(named) == "f32")
        let results = try [plain, named].map { try $0.session().sample(request()) }
        #expect(results[0].state == results[1].state)
        #expect(results.allSatisfy { $0.statistics.precision == .f32 })
    }

    /// `auto` is bf16 where that is supported and f32 elsewhere, bit for bit; whole numbers of one byte stay f32.
    @Test func autoIsWhatTheProcessorHas() throws {
        let path = try TinyDiT().write(directory)
        let chosen = try Model(path, options("auto")), wanted = Self.hasBrain ? "bf16" : "f32"
        #expect(try fact(chosen) == wanted && chosen.precision.rawValue == wanted)
        let states = try [chosen, Model(path, options(wanted))].map { try $0.session().sample(request()).state }
        #expect(states[0] == states[1])
        #expect(try fact(Model(path, options("auto", .int8))) == "f32")
    }

    @Test func whatIsNotThereIsRefused() throws {
        let path = try TinyDiT().write(directory)
        let later = failure { _ = try Model(path, options("int8")) }
        #expect(later?.code == .unsupported && later?.message.contains("bf16") == true, "\(String(describing: later))")
        let unknown = failure { _ = try options("f16") }
        #expect(unknown?.code == .invalidArgument && unknown?.message.contains("precision") == true)
        let both = failure { _ = try Model(path, options("bf16", .int8)) }
        #expect(both?.code == .unsupported && both?.message.contains(Self.hasBrain ? "int8" : "AVX512_BF16") == true)
        guard !Self.hasBrain else { return }
        let refusal = failure { _ = try Model(path, options("bf16")) }
        #expect(refusal?.code == .unsupported && refusal?.message.contains("auto") == true)
    }

    /// Learning is in f32: asked for something else it says so, and `auto` is f32 to it.
    @Test func learningIsPlain() throws {
        let path = try TinyDiT().write(directory)
        let settings = JSON.object([
            "method": .string("router"), "trajectory": .string("own"), "steps": .integer(1),
            "sampling_steps": .integer(4),
        ])
        let refusal = failure { _ = try Trainer(path, settings, options("bf16")) }
        #expect(refusal?.code == .unsupported && refusal?.message.contains("precision") == true)
        #expect(failure { _ = try Trainer(path, settings, options("auto")) } == nil)
    }

    /// Every family of networks: near f32, and not the same.
    @Test(.enabled(if: hasBrain)) func resultsAreNear() throws {
        var inputs = NamedInputs()
        inputs.integers["tokens"] = [3, 7, 60, 60, 12, 0, 59]
        for isTied in [false, true] {
            var tiny = TinyLanguageModel()
            tiny.isTied = isTied
            let path = try tiny.write(to: directory, as: "m\(isTied)")
            let logits = try ["f32", "bf16"].map {
                try #require(try Model(path, options($0)).forward(inputs)["logits"]).array
            }
            let difference = Difference(logits[1], logits[0])
            #expect(difference.relative > 0 && difference.relative < 0.02, "\(difference)")
        }
        let path = try TinyDiT().write(directory)
        let states = try ["f32", "bf16"].map { try Model(path, options($0)).session().sample(request()).state }
        let difference = Difference(states[1], states[0])
        #expect(difference.relative > 0 && difference.relative < 0.05, "\(difference)")
        let decoder = try TinyAutoencoder().write(directory)
        var numbers = Numbers(12)
        inputs = NamedInputs()
        inputs.tensors["latents"] = try numbers.tensor([1, 4, 9, 10])
        let images = try ["f32", "bf16"].map {
            try #require(try Model(decoder, options($0)).forward(inputs)["image"]).array
        }
        #expect(images[0] != images[1] && Difference(images[1], images[0]).relative < 0.05)
    }

    /// A model computed in bf16 is as independent of batch and threads as one in f32, and says what it did.
    @Test(.enabled(if: hasBrain)) func bitsDependOnNeitherBatchNorThreads() throws {
        let model = try Model(TinyDiT().write(directory), options("bf16"))
        var states: [[Float]] = []
        for threads in [1, 3] {
            var session = SessionOptions()
            session.threads = threads
            let result = try model.session(Plan(), session).sample(request([0, 3, 1]))
            #expect(result.statistics.precision == .bf16)
            states.append(result.state)
        }
        #expect(states[0] == states[1])
        guard case .object(let members) = try model.session().sample(request()).json else { return }
        #expect(members["precision"] == .string("bf16"))
    }

    /// Matrices take two bytes an element.
    @Test(.enabled(if: hasBrain)) func memoryHalves() throws {
        let path = try TinyLanguageModel().write(to: directory, as: "m")
        // 61 x 32 is padded to 64 outputs when packed.
        let perBlock = [(32, 32), (32, 32), (32, 32), (96, 32), (32, 48)]
        let elements = (perBlock + perBlock + [(64, 32)]).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(try Model(path).bytes - Model(path, options("bf16")).bytes == 2 * elements)
    }

    @Test func partnersAreOpenedAlike() throws {
        #expect(try options("bf16").forPartner.settings.precision == .bf16)
    }
}

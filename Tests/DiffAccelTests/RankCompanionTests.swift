import DiffAccel
import DiffCheckpoint
import DiffTensor
import Foundation
import Synchronization
import TestSupport
import Testing

/// What ranks have beside the network: rank 0 reads prompts and pictures for all, and decodes unless all do.
@Suite struct RankCompanionTests {
    private let directory: ScratchDirectory
    private let path: String
    private let plan: Plan, alone: Plan
    private let size: [String: JSON] = ["height": 48, "width": 64, "steps": 4, "sampler": "ddim", "guidance": 3]

    init() throws {
        directory = try ScratchDirectory()
        let unet = TinyUNet()
        path = try unet.writePipeline(directory)
        try TinyAutoencoder().write(directory, as: "pipeline/vae")
        let text = Self.text
        try directory.write(.object(text.config), as: "pipeline/text_encoder/config.json")
        try directory.write(text.tensors(), as: "pipeline/text_encoder/model.safetensors")
        let lists = [["conv_in", "down_blocks", "mid_block"], ["up_blocks", "conv_norm_out", "conv_out"]]
        plan = Plan([try AsyncPlan(components: 2, split: .modules(lists), executor: .mpi)])
        alone = try plan.executed(by: .sequential)
    }

    private static var text: TinyCLIPText {
        var text = TinyCLIPText()
        (text.width, text.vocabulary, text.positions) = (TinyUNet().textWidth, 2048, 24)
        return text
    }

    private var options: ModelOptions {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        var options = ModelOptions()
        options.settings.tokenizer = root.appendingPathComponent("Models/emoji-sd/tokenizer").path
        return options
    }

    /// Rank 0's result of two ranks that each open the model with what they need, and the bytes of both models.
    private func ranks(
        _ request: SampleRequest, decode: Bool
    ) throws -> (results: [SampleResult?], bytes: [Int], errors: [DiffError?]) {
        let found = Mutex([SampleResult?](repeating: nil, count: 2))
        let bytes = Mutex([0, 0])
        let (plan, path, options) = (plan, path, options)
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            var (own, session) = (options, SessionOptions())
            (own.ranks, own.settings.ranks, own.settings.ranksDecode) = (group, plan.json, decode)
            (session.ranks, session.threads) = (group, 1)
            let model = try Model(path, own)
            bytes.withLock { $0[group.rank] = model.bytes }
            let result = try model.session(plan, session).sample(request)
            found.withLock { $0[group.rank] = result }
        }
        return (found.withLock { $0 }, bytes.withLock { $0 }, errors)
    }

    private func expected(_ request: SampleRequest) throws -> [Float] {
        var session = SessionOptions()
        session.threads = 1
        return try #require(Model(path, options).session(alone, session).sample(request).pixels).array
    }

    @Test(arguments: [false, true]) func promptsAreReadByRankZero(_ decode: Bool) throws {
        var request = SampleRequest(size)
        (request["prompt"], request["negative_prompt"], request["tile"]) = ("a red apple", "green", 8)
        let pixels = try expected(request)
        let (results, bytes, errors) = try ranks(request, decode: decode)
        #expect(errors == [nil, nil])
        #expect(try sameBits(#require(results[0]?.pixels).array, pixels))
        #expect(results[1]?.pixels == nil && results[1]?.state == results[0]?.state)
        let sent = try #require(results[0]).statistics.ranks.map(\.sentBytes)
        #expect(sent[0] > 0)

        // Rank 1 has its component, and no more of the rest than it works with.
        let components = try Model(path, options).preview(alone, steps: 4).components
        var part = options
        part.networkPart = WeightsPart(without: components[0].modules)
        let whole = try Model(path, part).bytes
        let text = try Model("\(path)/text_encoder").bytes
        let vae = try Model("\(path)/vae").bytes
        if decode {
            #expect(bytes[1] > whole - text - vae && bytes[1] < whole - text)
        } else {
            #expect(bytes[1] == whole - text - vae)
        }
        #expect(try JSONObject(Model(path, options).description, source: "model").string("decoder") == "autoencoder_kl")
    }

    @Test func picturesAreReadByRankZero() throws {
        var numbers = Numbers(3)
        var request = SampleRequest(size)
        (request["prompt"], request["strength"]) = ("a leaf", 0.7)
        request.tensors["image"] = .floats(try numbers.tensor([1, 3, 48, 64], scale: 0.5))
        let pixels = try expected(request)
        let (results, _, errors) = try ranks(request, decode: false)
        #expect(errors == [nil, nil])
        #expect(try sameBits(#require(results[0]?.pixels).array, pixels))
        // What was drawn for the picture's latents was drawn on both.
        #expect(results[1]?.state == results[0]?.state)
    }

    @Test func aPromptWithoutNumbersEndsTheRunOnBoth() throws {
        var tensors = try Self.text.tensors()
        tensors["text_model.final_layer_norm.bias"] = try Tensor(
            [Float](repeating: .nan, count: Self.text.width), Shape(Self.text.width))
        try directory.write(tensors, as: "pipeline/text_encoder/model.safetensors")
        var request = SampleRequest(size)
        request["prompt"] = "a leaf"
        let (_, _, errors) = try ranks(request, decode: false)
        #expect(
            errors.allSatisfy { $0?.code == .notFinite && $0?.message.contains("text_encoder") == true }, "\(errors)")
    }

    @Test func modelsThatShareDecodingAndModelsThatDoNotAreToldApart() throws {
        var request = SampleRequest(size)
        request["prompt"] = "a leaf"
        let asked = request
        let (plan, path, options) = (plan, path, options)
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            var (own, session) = (options, SessionOptions())
            (own.ranks, own.settings.ranks, own.settings.ranksDecode) = (group, plan.json, group.rank == 0)
            session.ranks = group
            _ = try Model(path, own).session(plan, session).sample(asked)
        }
        #expect(
            errors.allSatisfy { $0?.code == .incompatible && $0?.message.contains("shared decoding") == true },
            "\(errors)")
    }

    @Test func soundsAreMadeByRankZero() throws {
        let tiny = TinyAudio()
        let model = try Model(tiny.write(directory))
        var numbers = Numbers(3)
        let vectors = try numbers.tensor([2, tiny.unet.classWidth])
        var request = tiny.request(vectors, steps: 3)
        let whole = try model.session().sample(request)
        request["guidance_execution"] = "ranks"
        let asked = request
        let found = Mutex([SampleResult?](repeating: nil, count: 2))
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            var session = SessionOptions()
            (session.ranks, session.threads) = (group, 1)
            let result = try model.session(Plan(), session).sample(asked)
            found.withLock { $0[group.rank] = result }
        }
        #expect(errors == [nil, nil])
        let results = found.withLock { $0 }
        #expect(try sameBits(#require(results[0]?.audio).array, #require(whole.audio).array))
        #expect(results[1]?.audio == nil)
    }
}

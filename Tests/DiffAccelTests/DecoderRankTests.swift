import DiffAccel
import DiffTensor
import Synchronization
import TestSupport
import Testing

/// Ranks that share the tiles of a decoder, or the pictures of a batch: always the picture of one process.
@Suite struct DecoderRankTests {
    private let directory: ScratchDirectory
    private let subject: AsyncSubject

    init() throws {
        directory = try ScratchDirectory()
        subject = try .pipeline(directory)
    }

    /// What shares the calls: the components of a plan, the rows of calls, or both.
    enum Sharing: String, CaseIterable {
        case components, rows, both

        var plan: Plan {
            get throws { self == .rows ? Plan() : Plan([try AsyncPlan(components: 2, executor: .mpi)]) }
        }
        /// The same by one process.
        var alone: Plan { get throws { self == .rows ? Plan() : Plan([try AsyncPlan(components: 2)]) } }
        var ranks: [Int] {
            switch self {
            case .components: [2]
            case .rows: [2, 3, 4]
            case .both: [4]
            }
        }
        func apply(to request: inout SampleRequest) {
            if self != .components { request["guidance_execution"] = "ranks" }
        }
    }

    /// The results of the ranks, of which `short` has no more than `room` bytes and `canceller` stops while decoding; nil where one failed.
    private func results(
        _ subject: AsyncSubject, _ sharing: Sharing, ranks: Int, _ errors: inout [DiffError?], delay: Double = 0,
        short: Int? = nil, room: Int = 0, canceller: Int? = nil,
        _ change: @Sendable (inout SampleRequest) -> Void = { _ in }
    ) throws -> [SampleResult?] {
        let found = Mutex([SampleResult?](repeating: nil, count: ranks))
        let plan = try sharing.plan
        errors = try LocalRanks(ranks, delay: delay, messageLimit: 500).perform { (group) throws(DiffError) in
            var options = SessionOptions()
            (options.threads, options.ranks, options.memoryLimit) = (1, group, group.rank == short ? room : 0)
            var request = subject.request
            change(&request)
            sharing.apply(to: &request)
            let result = try subject.model.session(plan, options).sample(request) { event in
                group.rank == canceller && event.stage == .decode ? .cancel : .continue
            }
            found.withLock { $0[group.rank] = result }
        }
        return found.withLock { $0 }
    }

    @Test(arguments: Sharing.allCases) func tilesOnRanksHaveTheBitsOfOneProcess(_ sharing: Sharing) throws {
        for ranks in sharing.ranks {
            for pictures in [1, 2] {
                let change: @Sendable (inout SampleRequest) -> Void = { request in
                    (request["tile"], request["images_per_prompt"]) = (8, pictures)
                }
                let expected = try subject.run(sharing.alone, threads: 1, change)
                var errors: [DiffError?] = []
                let found = try results(subject, sharing, ranks: ranks, &errors, delay: 0.0002, change)
                #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
                #expect(expected.statistics.decoderTile == 8)
                let note = Comment("\(sharing), \(ranks) ranks, \(pictures) pictures")
                #expect(try sameBits(#require(found[0]?.pixels).array, #require(expected.pixels).array), note)
                for other in found.dropFirst() { #expect(other?.pixels == nil && other?.state == expected.state) }
            }
        }
    }

    @Test func tilesAreMadeByAll() throws {
        var sent: [[Int]] = []
        for decodes in [false, true] {
            var errors: [DiffError?] = []
            let found = try results(subject, .rows, ranks: 3, &errors) { request in
                (request["tile"], request["decode"]) = (8, decodes)
            }
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            sent.append(try #require(found[0]).statistics.ranks.map(\.sentBytes))
        }
        // Of 5 x 4 tiles of 16 x 16 pixels rank 0 makes seven, the others seven and six.
        let tile = 3 * 16 * 16 * 4
        #expect(zip(sent[1], sent[0]).map { $0 - $1 } == [0, 7 * tile, 6 * tile])
    }

    @Test(arguments: Sharing.allCases) func picturesOfABatchAreShared(_ sharing: Sharing) throws {
        let change: @Sendable (inout SampleRequest) -> Void = { $0["images_per_prompt"] = 5 }
        let expected = try subject.run(sharing.alone, threads: 1, change)
        for ranks in sharing.ranks {
            var errors: [DiffError?] = []
            let found = try results(subject, sharing, ranks: ranks, &errors, change)
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            #expect(try sameBits(#require(found[0]?.pixels).array, #require(expected.pixels).array), "\(ranks)")
            let sent = try #require(found[0]).statistics.ranks.map(\.sentBytes)
            #expect(try sent[1] >= 2 * #require(expected.pixels).shape.count * 4 / 5, "\(sent)")
        }
    }

    @Test func aTinyDecoderIsSharedToo() throws {
        var options = ModelOptions()
        options.decoder = "\(directory.path)/taesd"
        let taesd = TinyTAESD()
        try directory.write(taesd.config, as: "taesd/config.json")
        try directory.write(taesd.tensors(), as: "taesd/diffusion_pytorch_model.safetensors")
        let tiny = AsyncSubject(
            name: "taesd", model: try Model(subject.model.path, options), request: subject.request)
        let expected = try tiny.run(Plan(), threads: 1) { $0["tile"] = 8 }
        var errors: [DiffError?] = []
        let found = try results(tiny, .rows, ranks: 2, &errors) { $0["tile"] = 8 }
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        #expect(expected.statistics.decoderTile == 8)
        #expect(try sameBits(#require(found[0]?.pixels).array, #require(expected.pixels).array))
    }

    /// A rank that has room for small tiles only has them all make small ones.
    @Test func tilesFitOnEveryRank() throws {
        // One that needs more room than the network's steps.
        var vae = TinyAutoencoder()
        vae.levels = [32, 64]
        try vae.write(directory, as: "pipeline/vae")
        // Of two pictures each rank decodes one, where they are whole.
        var request = subject.request
        request["images_per_prompt"] = 2
        let subject = AsyncSubject(name: "large decoder", model: try Model(subject.model.path), request: request)
        let whole = try subject.run(Plan(), threads: 1).statistics.peakBytes
        for short in [0, 1] {
            // Less and less room, until whole pictures do not fit.
            var (room, tile): (Int, Int?) = (whole, nil)
            while tile == nil, room > whole / 10 {
                room = room * 9 / 10
                var errors: [DiffError?] = []
                let found = try results(subject, .rows, ranks: 2, &errors, short: short, room: room)
                try #require(errors.allSatisfy { $0 == nil }, "\(errors)")
                tile = found[0]?.statistics.decoderTile
                #expect(found[1]?.statistics.decoderTile == tile)
                let expected = try subject.run(Plan(), threads: 1) { $0["tile"] = tile.map { .integer($0) } ?? "never" }
                #expect(try sameBits(#require(found[0]?.pixels).array, #require(expected.pixels).array))
            }
            #expect(tile != nil, "\(short)")
        }
    }

    @Test func cancelWhileDecodingEndsTheRunOnAll() throws {
        for canceller in 0..<2 {
            var errors: [DiffError?] = []
            _ = try results(subject, .rows, ranks: 2, &errors, canceller: canceller) {
                ($0["tile"], $0["images_per_prompt"]) = (8, 3)
            }
            #expect(errors.allSatisfy { $0?.code == .cancelled }, "\(errors)")
        }
    }

    @Test func aDecoderThatMakesNoNumbersEndsTheRunOnAll() throws {
        let vae = TinyAutoencoder()
        var tensors = try vae.tensors()
        tensors["decoder.conv_out.bias"] = try Tensor([.nan, 0, 0], Shape(3))
        try directory.write(tensors, as: "pipeline/vae/diffusion_pytorch_model.safetensors")
        let broken = AsyncSubject(name: "nan", model: try Model(subject.model.path), request: subject.request)
        var errors: [DiffError?] = []
        _ = try results(broken, .rows, ranks: 2, &errors) { $0["tile"] = 8 }
        #expect(
            errors.allSatisfy { $0?.code == .notFinite && $0?.message.contains("picture 1 of") == true }, "\(errors)")
    }
}

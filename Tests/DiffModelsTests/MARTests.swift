import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct MARTests {
    private func network(_ tiny: TinyMAR = TinyMAR(), _ config: JSON? = nil) throws -> MAR {
        let directory = try ScratchDirectory()
        let checkpoint = try Checkpoint.open(path: tiny.write(directory, config: config, decoder: false))
        let weights = checkpoint.weights()
        return try MAR(MARConfiguration(checkpoint.configuration, weights), weights)
    }

    private func failure(_ body: () throws -> Void) -> DiffError? {
        do { try body() } catch { return error as? DiffError }
        return nil
    }

    private func run(_ mar: MAR) throws -> Run {
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [mar.layout], calls: 1, rows: 2))
        return run
    }

    @Test func shapesTellAllButTheHeads() throws {
        var tiny = TinyMAR()
        (tiny.encoderDepth, tiny.decoderDepth, tiny.buffer, tiny.headDepth) = (1, 3, 4, 1)
        let c = try network(tiny, .object(["encoder_num_heads": 2, "decoder_num_heads": 4])).configuration
        #expect(c.encoder.depth == 1 && c.encoder.width == 24 && c.encoder.heads == 2 && c.encoder.mlpWidth == 96)
        #expect(
            c.decoder.heads == 4 && c.decoder.depth == 3 && c.tokens == 9 && c.buffer == 4 && c.channels == 4
                && c.classes == 5)
        #expect(c.headDepth == 1 && c.headWidth == 20 && c.assumption == nil)
        tiny.patch = 2
        #expect(try network(tiny, .object(["patch_size": 2])).configuration.side == 6)
        let assumed = try network(TinyMAR(), .object([:])).configuration.assumption
        #expect(assumed?.contains("encoder_num_heads") == true && assumed?.contains("decoder_num_heads") == true)
    }

    private static let wrong: [(String, JSON)] = [
        ("encoder_depth", 3), ("diffloss_w", 21), ("class_num", 6), ("buffer_size", 1), ("encoder_num_heads", 5),
        ("img_size", 64), ("norm_eps", 1e-5), ("vae_embed_dim", 3), ("qkv_bias", false),
    ]

    @Test(arguments: wrong)
    func aConfigThatDoesNotFitIsRefusedByName(_ key: String, _ value: JSON) throws {
        var members: [String: JSON] = ["encoder_num_heads": 3, "decoder_num_heads": 3]
        members[key] = value
        let error = failure { _ = try network(TinyMAR(), .object(members)) }
        #expect(error != nil, "\(key)")
        if ["encoder_num_heads", "img_size", "norm_eps", "qkv_bias"].contains(key) {
            #expect(error?.message.contains(key) == true, "\(error?.message ?? "")")
        }
    }

    @Test func unknownTokensAreNotRead() throws {
        let mar = try network()
        let run = try run(mar)
        var numbers = Numbers(3)
        let tokens = try numbers.tensor([2, 9, 4])
        var others = tokens.array
        for position in [0, 2, 3, 5, 6, 7, 8] {
            for sample in 0..<2 { for i in 0..<4 { others[(sample * 9 + position) * 4 + i] = 1e6 } }
        }
        let pass = try MARPass(known: [[1, 4], [1, 4]], wanted: [[0, 8], [2, 3]], tokens: 9)
        let first = try mar(tokens, pass, labels: [1, 5], run).array
        #expect(try sameBits(mar(Tensor(others, tokens.shape), pass, labels: [1, 5], run).array, first))
    }

    /// The decoder asked about some tokens, about all, for one sample and for several, under guidance or not: the same answers.
    @Test(arguments: [0, 1, 4, 8])
    func someTokensAreThoseOfAll(_ known: Int) throws {
        let mar = try network()
        let run = try run(mar)
        var numbers = Numbers(5)
        let tokens = try numbers.tensor([2, 9, 4])
        let orders = [[3, 1, 8, 0, 2, 7, 5, 6, 4], [6, 5, 4, 8, 7, 1, 0, 3, 2]]
        let given = orders.map { Array($0.prefix(known)).sorted() }
        let asked = orders.map { Array($0.suffix(2)).sorted() }
        let labels = [2, 0, 5, 5]
        let all = try mar(tokens, MARPass(known: given, wanted: nil, tokens: 9), labels: labels, run)
        let pass = try MARPass(known: given, wanted: asked, mostWanted: 5, tokens: 9)
        let some = try mar(tokens, pass, labels: labels, run).array
        var expected: [Float] = []
        for row in 0..<4 {
            for position in asked[row % 2] {
                let start = (row * 9 + position) * 24
                expected += all.array[start..<start + 24]
            }
        }
        #expect(Difference(some, expected).absolute < 1e-5)
        let single = try MARPass(known: [given[1]], wanted: [asked[1]], tokens: 9)
        let alone = try mar(tokens.rows(1, 1), single, labels: [0], run).array
        #expect(sameBits(alone, Array(some[2 * 24..<4 * 24])), "a batch has the bits of its samples")
    }

    @Test func stepsOfTheHeadThatAreToldAtOnceAreThoseToldOneByOne() throws {
        let mar = try network()
        let run = try run(mar)
        var numbers = Numbers(8)
        let (x, z) = (try numbers.tensor([3, 4]), try numbers.tensor([2, 3, 24]))
        let times: [Float] = [900, 500, 0]
        let conditions = try mar.head.conditions(z, run)
        let all = try mar.head.modulations(
            mar.head.times(run.tensor(times, Shape(3)), run), conditions, run)
        for (index, time) in times.enumerated() {
            let one = try mar.head.modulations(mar.head.times(run.tensor([time], Shape(1)), run), conditions, run)
            let together = try mar.head(x, all, from: 6 * index, rows: 6, run).array
            #expect(try sameBits(mar.head(x, one, rows: 6, run).array, together))
        }
    }

    @Test func positionsMustAscendAndBeAsManyInEachSample() throws {
        for known in [[[1, 0], [0, 1]], [[0], [0, 1]], [[0, 0], [0, 1]], [[-1], [0]], [[9], [0]]] {
            #expect(throws: DiffError.self) { try MARPass(known: known, wanted: nil, tokens: 9) }
        }
        #expect(throws: DiffError.self) { try MARPass(known: [[0]], wanted: [[1], [2]], tokens: 9) }
    }
}

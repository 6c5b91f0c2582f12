import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// The U-Nets of AudioLDM2 and AudioLDM: transformers that read two texts, one, or their own tokens twice.
@Suite struct AudioUNetTests {
    /// Kinds that differ in what their transformers read.
    enum Kind: CaseIterable {
        case base, large, speech, second, first

        var tiny: TinyUNet {
            var tiny = TinyUNet()
            tiny.projectsByConvolution = true
            switch self {
            case .base: (tiny.stacks, tiny.channels) = ([nil, 12, 20], [8, 12, 16])
            case .large: (tiny.stacks, tiny.blocks) = ([nil, 12, 20, nil], 2)
            case .speech: tiny.stacks = [nil, 12]
            case .second: (tiny.stacks, tiny.layers) = ([nil, nil, 20], 2)
            case .first: (tiny.classWidth, tiny.layers) = (10, 2)
            }
            return tiny
        }
    }

    /// What a network of a kind is given.
    private struct Inputs {
        var x, t: Tensor
        var conditioning: Conditioning

        init(_ tiny: TinyUNet, batch: Int = 2, height: Int = 12, width: Int = 6, masked: Bool = true) throws {
            var numbers = Numbers(5)
            x = try numbers.tensor([batch, tiny.inChannels, height, width])
            t = try Tensor((0..<batch).map { 11 + 200 * Float($0) }, Shape(batch))
            guard tiny.classWidth == 0 else {
                conditioning = try Conditioning(pooled: numbers.tensor([batch, tiny.classWidth]))
                return
            }
            let second = tiny.stacks.dropFirst(2).contains { $0 != nil }
            let firstWidth = tiny.stacks.prefix(2).compactMap { $0 }.first ?? 20
            conditioning = Conditioning(states: try numbers.tensor([batch, 8, firstWidth]))
            guard second else { return }
            conditioning.secondStates = try numbers.tensor([batch, 5, 20])
            guard masked else { return }
            let seen = (0..<batch).flatMap { row in (0..<5).map { Float($0 < 2 + row % 3 ? 1 : 0) } }
            conditioning.secondMask = try Tensor(seen, Shape(batch, 5))
        }

        func row(_ row: Int) throws -> Inputs {
            var one = self
            (one.x, one.t) = (try x.rows(row, 1), try t.rows(row, 1))
            one.conditioning.states = try conditioning.states.rows(row, 1)
            one.conditioning.pooled = try conditioning.pooled?.rows(row, 1)
            one.conditioning.secondStates = try conditioning.secondStates?.rows(row, 1)
            one.conditioning.secondMask = try conditioning.secondMask?.rows(row, 1)
            return one
        }
    }

    private func predict(_ network: UNet, _ inputs: Inputs, _ run: Run) throws -> [Float] {
        try network(inputs.x, t: inputs.t, network.prepare(inputs.conditioning, run), run).array
    }

    @Test(arguments: Kind.allCases) func aBatchIsItsSamplesBitForBit(_ kind: Kind) throws {
        let network = try load(kind.tiny)
        for (height, width) in [(12, 6), (7, 5), (1, 1)] {
            let inputs = try Inputs(kind.tiny, batch: 3, height: height, width: width)
            let run = try newRun(network, threads: 2)
            let whole = try predict(network, inputs, run)
            let each = 4 * height * width
            let areFinite = whole.allSatisfy { $0.isFinite }
            #expect(areFinite && whole.count == 3 * each)
            let all = try network.prepare(inputs.conditioning, run)
            for row in 0..<3 {
                let one = try inputs.row(row)
                let expected = Array(whole[row * each..<(row + 1) * each])
                #expect(try sameBits(predict(network, one, newRun(network)), expected))
                #expect(try sameBits(network(one.x, t: one.t, all.rows(row, 1), run).array, expected))
            }
        }
    }

    @Test(arguments: Kind.allCases) func aDryRunForeseesARealOne(_ kind: Kind) throws {
        let network = try load(kind.tiny)
        let inputs = try Inputs(kind.tiny, height: 20, width: 8)
        let (real, dry) = (try newRun(network, threads: 2), Run(dryOn: 2))
        try dry.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 4))
        for run in [real, dry] {
            let prepared = try network.prepare(inputs.conditioning, run)
            for _ in 0..<2 { _ = try network(inputs.x, t: inputs.t, prepared, run) }
        }
        #expect(real.workspace.peakBytes == dry.workspace.peakBytes && real.trace.flops == dry.trace.flops)
    }

    @Test func whatItIsToldIsInItsWidths() throws {
        let base = try load(Kind.base.tiny), speech = try load(Kind.speech.tiny), first = try load(Kind.first.tiny)
        #expect(base.textWidth == 12 && base.secondTextWidth == 20 && base.pooledWidth == nil)
        #expect(speech.textWidth == 12 && speech.secondTextWidth == nil)
        #expect(first.textWidth == 0 && first.secondTextWidth == nil && first.pooledWidth == 10 && !first.takesSizes)
        #expect(try load(Kind.second.tiny).textWidth == 20)
        #expect(base.layout.family == "audioldm2_unet2d_condition" && first.layout.family == "unet2d_condition")
        for network in [base, speech, first] {
            #expect(network.layout.firstMissing(of: [.coversTimeAndFrequency]) == nil)
        }
        #expect(try load(TinyUNet()).layout.firstMissing(of: [.coversTimeAndFrequency]) != nil)
    }

    /// One site for each attention, by the checkpoint's paths, in the order in which they are visited; levels by how often the grid is halved.
    @Test func sitesAreTheCheckpointsPathsOnTheirLevels() throws {
        let network = try load(Kind.large.tiny)
        let layout = network.layout
        for (name, level) in [
            ("down_blocks.0.attentions.3.transformer_blocks.1.attn2", 0), ("up_blocks.1.attentions.7", 0),
            ("down_blocks.1.resnets.0", 1), ("mid_block.attentions.3.transformer_blocks.0.attn1", nil),
            ("conv_in", nil),
        ] as [(String, Int?)] {
            let site = try #require(layout.site(named: name))
            #expect(layout.info(site).level == level, "\(name)")
        }
        // Four transformers of two blocks after each of one resnet down and two up, and in the middle.
        #expect(layout.blockCount == 4 * 2 * (1 + 1 + 2))
        let probe = SiteProbe()
        _ = try predict(network, Inputs(Kind.large.tiny), newRun(network, probe))
        #expect(probe.visited.map(\.number) == Array(layout.sites.indices))
    }

    /// Hidden tokens have no part in the result, tokens beyond the mask's end may hold anything, and a text of which nothing is seen is as if
    /// all of it were.
    @Test func masksHideTokens() throws {
        let network = try load(Kind.base.tiny)
        var inputs = try Inputs(Kind.base.tiny, batch: 1)
        let run = try newRun(network)
        let masked = try predict(network, inputs, run)
        let states = try #require(inputs.conditioning.secondStates).array
        let visible = 2 * 20
        inputs.conditioning.secondStates = try Tensor(
            states.enumerated().map { $0 < visible ? $1 : 50 - $1 }, Shape(1, 5, 20))
        #expect(try sameBits(predict(network, inputs, run), masked))
        var short = inputs
        short.conditioning.secondStates = try Tensor(Array(states.prefix(visible)), Shape(1, 2, 20))
        short.conditioning.secondMask = nil
        #expect(try Difference(predict(network, short, run), masked).absolute < 1e-5)
        inputs.conditioning.secondStates = try Tensor(states, Shape(1, 5, 20))
        inputs.conditioning.secondMask = nil
        let open = try predict(network, inputs, run)
        #expect(Difference(open, masked).absolute > 1e-3)
        inputs.conditioning.secondMask = try Tensor([0, 0, 0, 0, 0], Shape(1, 5))
        let none = try predict(network, inputs, run)
        // As torch: -10000 on all products, which are less exact then.
        #expect(Difference(none, open).absolute < 2e-2 && none.allSatisfy { $0.isFinite })
        // One of both texts masked, and of one alone.
        inputs.conditioning.mask = try Tensor([1, 1, 1, 1, 1, 1, 1, 0], Shape(1, 8))
        #expect(try Difference(predict(network, inputs, run), none).absolute > 1e-4)
        let all = try network.prepare(Inputs(Kind.base.tiny, batch: 2).conditioning, run)
        #expect(try all.rows(1, 1).samples == 1)
    }

    /// Where the second text is as wide as the first, that one stands for it; its own mask then does not hold.
    @Test func theFirstTextStandsForAMissingSecondOne() throws {
        var tiny = TinyUNet()
        tiny.stacks = [nil, 12, 12]
        let network = try load(tiny)
        var numbers = Numbers(5)
        let text = try numbers.tensor([1, 4, 12])
        var inputs = try Inputs(tiny, batch: 1, masked: false)
        inputs.conditioning = Conditioning(states: text)
        let run = try newRun(network)
        let alone = try predict(network, inputs, run)
        inputs.conditioning.secondStates = text
        #expect(try sameBits(predict(network, inputs, run), alone))
        inputs.conditioning.mask = try Tensor([1, 1, 0, 0], Shape(1, 4))
        let masked = try predict(network, inputs, run)
        inputs.conditioning.secondStates = nil
        #expect(try sameBits(predict(network, inputs, run), masked))
    }

    @Test func headsMayBeAsWideAsTheyWereTrained() throws {
        var tiny = TinyUNet()
        (tiny.stacks, tiny.heads) = ([nil, 12], 4)
        var c = try UNetConfiguration(JSONObject(tiny.config(), source: "config.json"))
        #expect(c.down.map(\.heads) == [4, 4])
        try c.divideHeads(channelsPerHead: 4)
        #expect(c.down.map(\.heads) == [2, 4] && c.up.map(\.heads) == [4, 2])
        try c.divideHeads(channelsPerHead: 8)
        #expect(c.down.map(\.heads) == [1, 2])
        for width in [0, -1, 3, 16] {
            #expect { try c.divideHeads(channelsPerHead: width) } throws: {
                ($0 as? DiffError)?.code == .invalidArgument
            }
        }
        #expect(c.down.map(\.heads) == [1, 2], "a refused change changes nothing")
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let network = try load(Kind.base.tiny)
        let run = try newRun(network)
        let good = try Inputs(Kind.base.tiny)
        var numbers = Numbers(1)
        func code(_ change: (inout Conditioning) throws -> Void) throws -> DiffError.Code? {
            var conditioning = good.conditioning
            try change(&conditioning)
            do {
                _ = try network.prepare(conditioning, run)
                return nil
            } catch { return error.code }
        }
        #expect(try code { _ in } == nil)
        #expect(try code { $0.secondStates = nil } == .shape)
        #expect(try code { $0.secondStates = try numbers.tensor([2, 5, 19]) } == .shape)
        #expect(try code { $0.secondStates = try numbers.tensor([1, 5, 20]) } == .shape)
        #expect(try code { $0.states = try numbers.tensor([2, 0, 12]) } == .shape)
        #expect(try code { $0.secondMask = try numbers.tensor([2, 4]) } == .shape)
        #expect(try code { $0.secondMask = try numbers.tensor([1, 5]) } == .shape)
        #expect(
            try code { $0.secondMask = try Tensor([Float](repeating: .nan, count: 10), Shape(2, 5)) }
                == .invalidArgument)
        let first = try load(Kind.first.tiny)
        #expect { try first.prepare(Conditioning(states: numbers.tensor([2, 1, 10])), run) } throws: {
            ($0 as? DiffError)?.code == .invalidArgument && "\($0)".contains("class_labels")
        }
        #expect { try first.prepare(Conditioning(pooled: numbers.tensor([2, 11])), run) } throws: {
            ($0 as? DiffError)?.code == .shape
        }
        #expect { try Conditioning(pooled: numbers.tensor([2, 1, 10])) } throws: { ($0 as? DiffError)?.code == .shape }
        // A second text for who reads one.
        let speech = try load(Kind.speech.tiny)
        #expect { try speech.prepare(good.conditioning, run) } throws: { ($0 as? DiffError)?.code == .shape }
    }

    @Test(arguments: [
        JSON.array([.array([.null, .integer(12)])]), .array([.array([]), .array([])]),
        .array([.array([.string("x")]), .array([.null])]), .array([.array([.integer(0)]), .array([.null])]),
        .array([.array([.null, .integer(12)]), .array([.null, .integer(16)])]),
        .array([.array(Array(repeating: .null, count: 17)), .array([.null])]),
    ])
    func textsOfOtherFormsAreRefusedByName(_ value: JSON) throws {
        do {
            _ = try UNetConfiguration(
                JSONObject(TinyUNet().config(["cross_attention_dim": value]), source: "config.json"))
            Issue.record("\(value) was taken")
        } catch { #expect(error.message.contains("cross_attention_dim"), "\(error.message)") }
    }

    @Test func classVectorsOfOtherFormsAreRefusedByName() throws {
        var tiny = TinyUNet()
        tiny.classWidth = 10
        for (key, value) in [
            ("class_embed_type", JSON.string("projection")), ("class_embed_type", .null),
            ("projection_class_embeddings_input_dim", .null), ("addition_embed_type", .string("text_time")),
        ] {
            do {
                _ = try UNetConfiguration(JSONObject(tiny.config([key: value]), source: "config.json"))
                Issue.record("\(key) was taken")
            } catch { #expect(error.message.contains("class_emb"), "\(error.message)") }
        }
        // A text beside the class, and a class that is added: not AudioLDM's, but the same parts.
        let both = try UNetConfiguration(
            JSONObject(
                tiny.config(["cross_attention_dim": .integer(12), "class_embeddings_concat": .bool(false)]),
                source: "config.json"))
        #expect(both.textWidth == 12 && both.classVector?.isJoined == false)
    }
}

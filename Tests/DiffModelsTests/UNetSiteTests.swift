import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// Answers at one site with what a plain run gave there.
private final class Replay: Acceleration {
    private let site: Site
    private let answer: Slots

    init(_ site: Site, _ answer: Slots) { (self.site, self.answer) = (site, answer) }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.modules = SiteSet([site])
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots { answer }
}

/// Runs some blocks only.
private final class Kept: Acceleration {
    private let keep: [Int]

    init(_ keep: [Int]) { self.keep = keep }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.blocks = true
        return hooks
    }

    func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) {
        plan.indices = plan.indices.filter(keep.contains)
    }
}

@Suite struct UNetSiteTests {
    @Test func sitesHaveTheCheckpointsPaths() throws {
        let layout = try load(UNetKind.xl.tiny).layout
        #expect(layout.family == "unet2d_condition")
        let kinds: [(String, SiteInfo.Kind)] = [
            ("conv_in", .other), ("down_blocks.0", .stage), ("down_blocks.0.resnets.0", .resnet),
            ("down_blocks.0.attentions.0", .stage), ("down_blocks.0.attentions.0.transformer_blocks.1", .block),
            ("down_blocks.0.attentions.0.transformer_blocks.1.attn1", .attention),
            ("down_blocks.0.attentions.0.transformer_blocks.1.attn2", .attention),
            ("down_blocks.0.attentions.0.transformer_blocks.1.ff", .mlp), ("down_blocks.1.downsamplers.0", .other),
            ("mid_block", .stage), ("mid_block.resnets.1", .resnet), ("up_blocks.1.upsamplers.0", .other),
            ("up_blocks.2.attentions.1", .stage), ("conv_norm_out", .other), ("conv_out", .other),
        ]
        for (name, kind) in kinds {
            let site = layout.site(named: name)
            #expect(site.map { layout.info($0).kind } == kind, "\(name)")
        }
        // Three levels of one layer: two with transformers on the way down, one in the middle, two of two on the way up.
        #expect(layout.lists.count == 1 && layout.blocks.name == "transformer_blocks")
        #expect(layout.blockCount == 2 * (2 + 1 + 4))
        #expect(layout.sites(.attention).count == 4 * 7 && layout.sites(.mlp).count == 2 * 7)
        #expect(Set(layout.sites.map(\.name)).count == layout.sites.count)
    }

    /// What a method answers at a site stands for all that is inside of it, to the last bit.
    @Test(arguments: UNetKind.allCases)
    func anAnswerLeavesTheInsideOut(_ kind: UNetKind) throws {
        let network = try load(kind.tiny)
        let inputs = try UNetInputs(kind.tiny, height: 8, width: 6)
        let probe = SiteProbe()
        let expected = try predict(network, inputs, newRun(network, probe))
        #expect(probe.visited.map(\.number) == Array(network.layout.sites.indices))
        for number in network.layout.sites.indices {
            let site = network.layout.siteNumbered(number)
            let answer = try #require(probe.slots[number])
            let inner = SiteProbe()
            let found = try predict(network, inputs, newRun(network, Replay(site, answer), inner))
            let name = network.layout.info(site).name
            #expect(sameBits(found, expected), "\(name)")
            let inside = inner.visited.filter { visited in
                var parent: Site? = visited
                while let here = parent, here != site { parent = network.layout.info(here).parent }
                return parent == site
            }
            #expect(inside.isEmpty, "\(name)")
        }
    }

    /// A block that is left out passes the stream on, as one whose last layers are zero does.
    @Test func blocksOfAllTransformersCanBeLeftOut() throws {
        var tiny = TinyUNet()
        tiny.blocks = 2
        let tensors = try tiny.tensors()
        let network = try load(tiny, tensors)
        let inputs = try UNetInputs(tiny)
        let count = network.layout.blockCount
        let plain = try predict(network, inputs, newRun(network))
        #expect(try sameBits(predict(network, inputs, newRun(network, Kept(Array(0..<count)))), plain))
        for left in [[0], [3, 4], Array(0..<count)] {
            var silent = tensors
            for block in left {
                let name = network.layout.info(network.layout.sites(.block)[block]).name
                for layer in ["attn1.to_out.0", "attn2.to_out.0", "ff.net.2"] {
                    for part in ["weight", "bias"] {
                        guard let tensor = silent["\(name).\(layer).\(part)"] else { continue }
                        silent["\(name).\(layer).\(part)"] = try Tensor(
                            Array(repeating: 0, count: tensor.shape.count), tensor.shape)
                    }
                }
            }
            let quiet = try load(tiny, silent)
            let found = try predict(network, inputs, newRun(network, Kept((0..<count).filter { !left.contains($0) })))
            #expect(try sameBits(found, predict(quiet, inputs, newRun(quiet))))
            #expect(!sameBits(found, plain))
        }
    }

    /// Sub-layers give what is added to the stream; blocks and transformers the stream.
    @Test func subLayersGiveWhatIsAdded() throws {
        let network = try load(TinyUNet())
        let inputs = try UNetInputs(TinyUNet())
        let probe = SiteProbe()
        _ = try predict(network, inputs, newRun(network, probe))
        let block = "mid_block.attentions.0.transformer_blocks.0"
        var stream = try #require(probe.input(block)).array
        for part in ["attn1", "attn2", "ff"] {
            let (input, output) = (probe.input("\(block).\(part)"), probe.output("\(block).\(part)"))
            let (given, added) = (try #require(input).array, try #require(output).array)
            #expect(sameBits(given, stream))
            stream = zip(stream, added).map { $0 + $1 }
        }
        let result = try #require(probe.output(block)).array
        #expect(sameBits(result, stream))
        // A level of the way down gives its state and every skip.
        let site = try #require(network.layout.site(named: "down_blocks.0"))
        let level = try #require(probe.slots[site.number])
        let last = try #require(level[2]).array
        #expect(level.count == 3 && sameBits(level.first.array, last))
    }
}

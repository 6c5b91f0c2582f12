import DiffAccel
import TestSupport
import Testing

/// What a method has to show, on the toy of the article WriteAMethod.
@Suite struct ToyMethodTests {
    @Test func neutralSettingsAreTheBaseline() throws {
        let tiny = try Tiny()
        let plain = try tiny.session().sample(request())
        let result = try tiny.session(Plan([RestPlan(block: 1, every: 0)])).sample(request())
        #expect(sameBits(result.state, plain.state))
        #expect(result.statistics.flops == plain.statistics.flops)
    }

    @Test(arguments: [1, 2, 3])
    func theDryRunIsTheRealRun(_ every: Int) throws {
        let session = try Tiny().session(Plan([RestPlan(block: 1, every: every)]))
        let estimate = try session.estimate(request(steps: 7))
        let statistics = try session.sample(request(steps: 7)).statistics
        #expect(estimate.sites == statistics.sites && statistics.sites.reused == 7 / every)
        #expect(estimate.flops == statistics.flops && estimate.flops < estimate.baselineFlops)
        #expect(estimate.peak >= statistics.peakBytes)
    }

    @Test func itActsOnItsSiteInItsCalls() throws {
        let tiny = try Tiny()
        let preview = try tiny.model.preview(Plan([RestPlan(block: 1)]), steps: 4)
        let rests = preview.grid.map { row in preview.sites.indices.filter { row[$0] == .reused } }
        let site = try #require(preview.sites.firstIndex(of: "blocks.1.mlp"))
        #expect(rests == [[], [site], [], [site]])
    }

    /// A reference made in another way: an MLP that always rests is one whose last layer is zero.
    @Test func anMLPThatAlwaysRestsAddsNothing() throws {
        let tiny = try Tiny()
        let result = try tiny.session(Plan([RestPlan(block: 1, every: 1)])).sample(request())
        var tensors = try tiny.dit.tensors()
        for name in ["blocks.1.mlp.fc2.weight", "blocks.1.mlp.fc2.bias"] {
            let shape = try #require(tensors[name]).shape
            tensors[name] = try Tensor([Float](repeating: 0, count: shape.count), shape)
        }
        try tiny.directory.write(tiny.dit.config, as: "silent/config.json")
        try tiny.directory.write(tensors, as: "silent/model.safetensors")
        let silent = try Model("\(tiny.directory.path)/silent").session().sample(request())
        #expect(sameBits(result.state, silent.state))
        #expect(!sameBits(result.state, try tiny.session().sample(request()).state))
    }

    @Test func itStacksWithDepthPruning() throws {
        let tiny = try Tiny()
        let depth = try DepthPlan(keep: [0])
        let pruned = try tiny.session(Plan([depth])).sample(request())
        // The block is gone, and with it what rests.
        for plan in [Plan([depth, RestPlan(block: 1)]), Plan([RestPlan(block: 1), depth])] {
            let result = try tiny.session(plan).sample(request())
            #expect(sameBits(result.state, pruned.state))
        }
        let both = try tiny.session(Plan([depth, RestPlan(block: 0)])).sample(request()).statistics.sites
        #expect((both.computed, both.reused, both.skipped) == (6, 2, 8))
    }

    @Test func itRefusesWhatIsNotThere() throws {
        let error = failure { _ = try Tiny().session(Plan([RestPlan(block: 2)])) }
        #expect(error?.code == .incompatible)
        #expect(error?.message.contains("block 2 has no MLP; there are 2 blocks") == true)
    }

    @Test func itIsReadAsItIsWritten() throws {
        let plan = RestPlan(block: 1, every: 3)
        let object = try JSONObject(plan.json, source: "plan")
        #expect(try RestPlan(object, files: Plan.noFiles) == plan)
        let strange = try JSONObject(
            .object(["method": .string("rest"), "block": .integer(0), "evry": .integer(2)]), source: "plan")
        #expect(failure { _ = try RestPlan(strange, files: Plan.noFiles) }?.message.contains("evry") == true)
    }
}

import DiffAccel
import DiffCheckpoint
import Foundation
import TestSupport
import Testing

/// How guidance is evaluated changes nothing: one batch, two lanes, two forks.
@Suite struct GuidanceExecutionTests {
    /// A model with what its requests need.
    private struct Subject {
        let name: String
        let directory: ScratchDirectory?
        let model: Model
        let samplers: [String?]
        let steps: Int
        let sublayers: Int, keep: [Int]
        var callsPerStep = 1

        func request(_ sampler: String?, _ execution: String?) -> SampleRequest {
            var request = SampleRequest(["labels": [0, 3]])
            (request["steps"], request["guidance"], request["seed"]) = (steps, 4, 7)
            (request["sampler"], request["guidance_execution"]) = (sampler, execution)
            return request
        }

        /// No plan, alternate caching, a learned router, pruned blocks.
        func plans() throws -> [(String, Plan)] {
            var numbers = Numbers(77)
            let rows = steps * callsPerStep
            let router = try Router(
                logits: (0..<rows).map { _ in numbers.floats(sublayers, scale: 5) }, threshold: 0.5)
            return [
                ("none", Plan()), ("alternate", cached(.alternate)), ("learned", cached(.learned(router))),
                ("depth", Plan([try DepthPlan(keep: keep)])),
            ]
        }
    }

    private static func dit() throws -> Subject {
        let tiny = try Tiny()
        return Subject(
            name: "dit", directory: tiny.directory, model: tiny.model, samplers: ["ddim", "ddpm"], steps: 6,
            sublayers: tiny.sublayers, keep: [1])
    }

    private static func sit() throws -> Subject {
        let (dit, directory) = (TinyDiT(), try ScratchDirectory())
        guard case .object(var config) = dit.config else { throw DiffError(.internal, "no config") }
        config["family"] = .string("sit")
        try directory.write(.object(config), as: "model/config.json")
        try directory.write(dit.tensors(), as: "model/model.safetensors")
        return Subject(
            name: "sit", directory: directory, model: try Model("\(directory.path)/model"),
            samplers: ["euler", "sde_euler"], steps: 6, sublayers: 2 * dit.depth, keep: [1])
    }

    private static func uvit() throws -> Subject {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return Subject(
            name: "uvit", directory: nil, model: try Model(tests.appendingPathComponent("Golden/l2c_uvit_small").path),
            samplers: [nil], steps: 4, sublayers: 6, keep: [0, 2], callsPerStep: 2)
    }

    private func session(_ subject: Subject, _ plan: Plan, threads: Int) throws -> Session {
        var options = SessionOptions()
        options.threads = threads
        return try subject.model.session(plan, options)
    }

    @Test(arguments: ["dit", "sit", "uvit"])
    func lanesAndSplitHaveTheBitsOfTheBatch(_ name: String) throws {
        let subject = try name == "dit" ? Self.dit() : name == "sit" ? Self.sit() : Self.uvit()
        for ((plan, methods), sampler) in withEvery(try subject.plans(), subject.samplers) {
            let batched = try session(subject, methods, threads: 1).sample(subject.request(sampler, nil))
            for execution in ["batched", "lanes", "split"] {
                for threads in 1...5 {
                    let note = Comment("\(name), \(plan), \(sampler ?? "-"), \(execution), \(threads) threads")
                    let session = try session(subject, methods, threads: threads)
                    let result = try session.sample(subject.request(sampler, execution))
                    let (found, expected) = (result.statistics, batched.statistics)
                    #expect(sameBits(result.state, batched.state), note)
                    #expect(found.sites == expected.sites && found.steps.count == expected.steps.count, note)
                    #expect(abs(found.flops / expected.flops - 1) < 0.01, note)
                    #expect(found.allocationsAfterFirstStep == 0, note)
                }
            }
        }
    }

    @Test(arguments: ["batched", "lanes", "split"], [1, 3])
    func theDryRunForeseesMemory(_ execution: String, _ threads: Int) throws {
        let tiny = try Tiny()
        for plan in [Plan(), cached(.alternate)] {
            var asked = request(steps: 4)
            (asked["guidance_execution"], asked["guidance_interval"]) = (execution, [0.25, 0.75])
            let estimate = try tiny.session(plan, threads: threads).estimate(asked)
            let result = try tiny.session(plan, threads: threads).sample(asked)
            // What methods keep is workspace, and told apart in estimates.
            #expect(estimate.workspace + estimate.cache == result.statistics.workspaceBytes)
            #expect(estimate.cache == result.statistics.cacheBytes)
            #expect(estimate.sites == result.statistics.sites && estimate.flops == result.statistics.flops)
            // As much as foreseen is enough, and a run that would need more does not start.
            let exact = try tiny.session(plan, threads: threads, memoryLimit: result.statistics.peakBytes)
            #expect(try sameBits(exact.sample(asked).state, result.state))
            let less = try tiny.session(plan, threads: threads, memoryLimit: result.statistics.peakBytes - 1)
            #expect(failure { _ = try less.sample(asked) }?.code == .overBudget)
        }
    }

    @Test func adaptiveStepsAreThoseOfTheBatch() throws {
        let subject = try Self.sit()
        var request = subject.request("dopri5", nil)
        request["steps"] = 60
        let batched = try session(subject, Plan(), threads: 2).sample(request)
        for execution in ["lanes", "split"] {
            request["guidance_execution"] = execution
            let result = try session(subject, Plan(), threads: 3).sample(request)
            #expect(sameBits(result.state, batched.state))
            #expect(result.statistics.steps.count == batched.statistics.steps.count)
        }
        request["guidance_interval"] = [0, 0.5]
        #expect(failure { _ = try session(subject, Plan(), threads: 1).sample(request) }?.code == .unsupported)
    }

    @Test func neutralSettingsAreTheBaseline() throws {
        let tiny = try Tiny()
        let plain = try tiny.session().sample(request(steps: 5))
        var neutral = request(steps: 5)
        (neutral["guidance_rescale"], neutral["guidance_interval"], neutral["guidance_execution"]) = (
            0, [0, 1], "batched"
        )
        let same = try tiny.session().sample(neutral)
        #expect(sameBits(same.state, plain.state) && same.statistics.flops == plain.statistics.flops)
        // Guidance in no step is the plain network.
        var never = request(steps: 5)
        never["guidance_interval"] = [0.5, 0.5]
        let (unguided, without) = (
            try tiny.session().sample(never), try tiny.session().sample(request(steps: 5, guidance: 1))
        )
        #expect(sameBits(unguided.state, without.state) && unguided.statistics.flops == without.statistics.flops)
    }

    @Test func intervalAndRescaleHaveTheirEffectInEveryExecution() throws {
        let tiny = try Tiny()
        let plain = try tiny.session().sample(request(steps: 6))
        for (interval, rescale) in [([0.3, 0.8], 0.0), ([0, 1], 0.7), ([0, 0.5], 1.0)] {
            for plan in [Plan(), cached(.alternate)] {
                var states: [[Float]] = []
                for execution in ["batched", "lanes", "split"] {
                    var asked = request(steps: 6)
                    (asked["guidance_interval"], asked["guidance_rescale"]) = (interval, rescale)
                    asked["guidance_execution"] = execution
                    let result = try tiny.session(plan, threads: 2).sample(asked)
                    states.append(result.state)
                    #expect(
                        plan.entries.isEmpty && interval != [0, 1]
                            ? result.statistics.flops < 0.8 * plain.statistics.flops : true)
                }
                #expect(sameBits(states[0], states[1]) && sameBits(states[0], states[2]))
                #expect(!sameBits(states[0], plain.state))
            }
        }
    }

    @Test func whatCannotBeIsRefusedByName() throws {
        let session = try Tiny().session()
        for (change, option): ((inout SampleRequest) -> Void, String) in [
            ({ $0["guidance_rescale"] = 1.5 }, "guidance_rescale"),
            ({ $0["guidance_rescale"] = Double.nan }, "guidance_rescale"),
            ({ $0["guidance_interval"] = [0.9, 0.1] }, "guidance_interval"),
            ({ $0["guidance_interval"] = [0.1] }, "guidance_interval"),
            ({ $0["guidance_execution"] = "threads" }, "guidance_execution"),
        ] {
            var asked = request()
            change(&asked)
            let error = failure { _ = try session.sample(asked) }
            #expect(error?.code == .invalidArgument && error?.message.contains(option) == true)
        }
    }
}

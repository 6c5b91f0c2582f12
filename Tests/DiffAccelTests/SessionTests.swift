import DiffAccel
import DiffCheckpoint
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct SessionTests {
    // MARK: Stopping

    @Test(arguments: [false, true])
    func aStopAtAnyStepLeavesTheSessionAsNew(_ caching: Bool) throws {
        let tiny = try Tiny(decoder: TinyAutoencoder())
        let session = try tiny.session(caching ? cached(.alternate) : Plan())
        let fresh = try session.sample(request(steps: 5))
        let bits = fresh.state
        let events = 5 + 2
        for stop in 1...events {
            var seen = 0
            let error = failure {
                _ = try session.sample(request(steps: 5)) { _ in
                    seen += 1
                    return seen == stop ? .cancel : .continue
                }
            }
            #expect(error?.code == .cancelled && seen == stop)
            #expect(
                try sameBits(session.sample(request(steps: 5)).state, bits), "after a stop at event \(stop)")
        }
        for stop in 1...5 {
            var seen = 0
            let error = failure {
                _ = try session.sample(request(steps: 5)) { _ in
                    seen += 1
                    if seen == stop { session.cancel() }
                    return .continue
                }
            }
            #expect(error?.code == .cancelled && seen == stop, "stopped by the session itself at \(stop)")
        }
        #expect(try sameBits(session.sample(request(steps: 5)).state, bits))
    }

    @Test func anotherThreadCanStopARun() throws {
        let tiny = try Tiny()
        let session = try tiny.session()
        let steps = Atomic<Int>(0)
        let thread = Thread {
            while steps.load(ordering: .relaxed) < 3 { usleep(200) }
            session.cancel()
        }
        thread.start()
        let error = failure {
            _ = try session.sample(request(steps: 1000)) { _ in
                steps.add(1, ordering: .relaxed)
                return .continue
            }
        }
        #expect(error?.code == .cancelled && steps.load(ordering: .relaxed) < 1000)
    }

    @Test func aStopAskedForBeforeARunIsForgotten() throws {
        let session = try Tiny().session()
        session.cancel()
        #expect(try session.sample(request()).statistics.steps.count == 4)
    }

    @Test func aSessionDoesOneThingAtATime() throws {
        let session = try Tiny().session()
        var inner: [DiffError?] = []
        _ = try session.sample(request()) { _ in
            inner.append(failure { _ = try session.sample(request()) })
            return .continue
        }
        #expect(inner.count == 4 && inner.allSatisfy { $0?.code == .busy })
        #expect(failure { _ = try session.sample(request()) } == nil)
    }

    // MARK: Bookkeeping

    @Test(arguments: [4, 7])
    func sitesComputedReusedAndSkippedAddUp(_ steps: Int) throws {
        let tiny = try Tiny()
        let router = try tiny.router(steps: steps)
        let keeps = try CachePolicy.learned(router).computes(steps: steps, sublayers: tiny.sublayers)
        let result = try tiny.session(cached(.learned(router))).sample(request(steps: steps))
        #expect(result.statistics.steps.count == steps)
        for (step, row) in zip(result.statistics.steps, keeps) {
            #expect(step.sites.computed == row.count { $0 } && step.sites.reused == row.count { !$0 })
            #expect(step.sites.computed + step.sites.reused + step.sites.skipped == tiny.sublayers)
        }
        let sum = result.statistics.sites
        #expect(sum.computed + sum.reused + sum.skipped == steps * tiny.sublayers)
        #expect(result.statistics.flops == result.statistics.steps.reduce(0) { $0 + $1.flops })
        let preview = try tiny.model.preview(cached(.learned(router)), steps: steps)
        #expect(preview.grid == keeps.map { $0.map { $0 ? .computed : .reused } })
        #expect(preview.timesteps == result.statistics.steps.map(\.timestep))
        #expect(abs(preview.shareSaved - Double(sum.reused) / Double(steps * tiny.sublayers)) < 1e-12)
    }

    @Test func eventsTellWhatTheStatisticsTell() throws {
        let tiny = try Tiny(decoder: TinyAutoencoder())
        var events: [(SampleEvent.Stage, Int, Int, Double?, SiteCounts)] = []
        var last: [Float] = []
        let result = try tiny.session(cached(.alternate)).sample(request([1, 2, 0])) { event in
            events.append((event.stage, event.step, event.steps, event.timestep, event.sites))
            if let latents = event.latents { last = latents.array }
            return .continue
        }
        #expect(events.map(\.1) == [1, 2, 3, 4, 1, 2, 3] && events.map(\.2) == [4, 4, 4, 4, 3, 3, 3])
        #expect(events.map(\.0) == [.denoise, .denoise, .denoise, .denoise, .decode, .decode, .decode])
        #expect(
            events.prefix(4).map(\.3) == result.statistics.steps.map { Optional($0.timestep) } && events[4].3 == nil)
        #expect(events.prefix(4).map(\.4) == result.statistics.steps.map(\.sites))
        #expect(sameBits(last, result.state))
    }

    @Test(arguments: [0, 1, 2])
    func aWarmLoopAsksForNoMemory(_ which: Int) throws {
        let tiny = try Tiny()
        let plans = try [
            Plan(), cached(.alternate), cached(.learned(tiny.router(steps: 9))),
        ]
        // Layer caches are for samplers with one call a step.
        // Those of U-ViT and of flows come behind a DiT's.
        let all = Array(Library.samplers.prefix { $0 != "dpmpp_2s" })
        #expect(all.count == 19)
        let others = which == 0 ? all : ["ddim", "ddpm", "euler", "dpmpp_2m"]
        for (sampler, eta) in [("ddim", 1.0)] + others.map({ ($0, 0.0) }) {
            var request = request(steps: 9)
            (request["sampler"], request["eta"]) = (sampler, eta)
            let result = try tiny.session(plans[which], threads: 2).sample(request)
            #expect(result.statistics.allocationsAfterFirstStep == 0, "\(sampler) with eta \(eta)")
        }
    }

    // MARK: Memory

    @Test(arguments: [1, 2, 6], [false, true])
    func theEstimateIsTheMeasuredPeak(_ samples: Int, _ decodes: Bool) throws {
        var dit = TinyDiT()
        (dit.width, dit.heads, dit.inputSize) = (64, 4, 16)
        let tiny = try Tiny(dit, decoder: decodes ? TinyAutoencoder() : nil)
        for plan in try [Plan(), cached(.alternate), cached(.learned(tiny.router(steps: 6)))] {
            let session = try tiny.session(plan, threads: 2)
            let request = request(Array(repeating: 1, count: samples), steps: 6)
            let estimate = try session.estimate(request)
            let statistics = try session.sample(request).statistics
            #expect(
                abs(Double(estimate.peak) - Double(statistics.peakBytes)) <= 0.1 * Double(statistics.peakBytes),
                "estimated \(estimate.peak), measured \(statistics.peakBytes)")
            #expect(estimate.flops == statistics.flops && estimate.sites == statistics.sites)
            #expect(estimate.cache == statistics.cacheBytes && estimate.weights == statistics.weightBytes)
            #expect(estimate.baselineFlops >= estimate.flops)
            // A session with this limit runs; one with half of it does not, and stays usable.
            let exact = try tiny.session(plan, threads: 2, memoryLimit: estimate.peak)
            #expect(failure { _ = try exact.sample(request) } == nil)
            let half = try tiny.session(plan, threads: 2, memoryLimit: estimate.peak / 2)
            var whole = request
            whole["tile"] = "never"
            #expect(failure { _ = try half.sample(whole) }?.code == .overBudget)
            #expect(half.bytesHeld == 0)
        }
    }

    @Test func aSessionBeyondItsLimitServesSmallerRequests() throws {
        let tiny = try Tiny()
        let small = request([1])
        let large = request(Array(repeating: 1, count: 16))
        let limit = try tiny.session().estimate(small).peak
        let session = try tiny.session(memoryLimit: limit)
        let expected = try tiny.session().sample(small).state
        for _ in 0..<3 {
            let error = failure { _ = try session.sample(large) }
            #expect(error?.code == .overBudget && error?.message.contains("\(limit)") == true)
            #expect(session.bytesHeld == 0)
            #expect(try sameBits(session.sample(small).state, expected))
        }
    }

    @Test func aFinishedSessionHoldsOnlyItsResults() throws {
        let session = try Tiny(decoder: TinyAutoencoder()).session(cached(.alternate))
        var result: SampleResult? = try session.sample(request())
        #expect(session.bytesHeld > 0 && result?.images != nil)
        result = nil
        #expect(session.bytesHeld == 0)
    }

    @Test func decodingUsesTilesWhenTheLimitAsksForThem() throws {
        var dit = TinyDiT()
        dit.inputSize = 64
        (dit.patchSize, dit.width, dit.depth, dit.heads) = (16, 8, 1, 1)
        let tiny = try Tiny(dit, decoder: TinyAutoencoder())
        var request = request([1], steps: 1)
        let whole = try tiny.session().estimate(request)
        request["tile"] = 16
        let tiled = try tiny.session().estimate(request)
        #expect(tiled.decode < whole.decode / 2)
        request["tile"] = "auto"
        let limit = (tiled.peak + whole.peak) / 2
        let session = try tiny.session(memoryLimit: limit)
        let result = try session.sample(request)
        #expect(result.statistics.decoderTile != nil && result.statistics.peakBytes <= limit)
        #expect(result.images?.height == 128)
        request["tile"] = "never"
        #expect(failure { _ = try session.sample(request) }?.code == .overBudget)
        for side in [0, 7, -1, 5000] {
            request["tile"] = side
            #expect(failure { _ = try session.sample(request) }?.code == .invalidArgument)
        }
    }
}

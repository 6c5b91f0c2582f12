import CKernels
import DiffAccel
import TestSupport
import Testing

/// Every allocation is made to fail once. The switch is one for the whole process, so each test has a process of its own.
@Suite struct AllocationFailureTests {
    @Test func aRunSurvivesEveryFailedAllocation() async {
        await #expect(processExitsWith: .success) {
            let tiny = try Tiny(decoder: TinyAutoencoder())
            for plan in [Plan(), cached(.alternate)] {
                let session = try tiny.session(plan, threads: 2)
                let expected = try session.sample(request(steps: 3)).state
                var (failed, at) = (0, Int64(0))
                while true {
                    at += 1
                    ck_fault_set(at, 0)
                    let error = failure { _ = try session.sample(request(steps: 3)) }
                    ck_fault_set(0, 0)
                    guard let error else { break }
                    #expect(error.code == .outOfMemory, "allocation \(at): \(error)")
                    #expect(session.bytesHeld == 0, "allocation \(at)")
                    failed += 1
                    if at % 7 == 1 { #expect(try sameBits(session.sample(request(steps: 3)).state, expected)) }
                    if at > 100_000 { break }
                }
                #expect(failed > 10 && failed < 100_000)
                #expect(try sameBits(session.sample(request(steps: 3)).state, expected))
            }
        }
    }

    @Test func aRunSurvivesWhenNothingCanBeAllocatedAnyMore() async {
        await #expect(processExitsWith: .success) {
            let tiny = try Tiny()
            let session = try tiny.session(cached(.alternate))
            let expected = try session.sample(request(steps: 3)).state
            for at in stride(from: Int64(1), to: 200, by: 3) {
                ck_fault_set(at, 1)
                let error = failure { _ = try session.sample(request(steps: 3)) }
                ck_fault_set(0, 0)
                if let error { #expect(error.code == .outOfMemory, "allocation \(at): \(error)") }
            }
            #expect(try sameBits(session.sample(request(steps: 3)).state, expected))
        }
    }

    @Test func aRunScaleByScaleSurvivesEveryFailedAllocation() async {
        await #expect(processExitsWith: .success) {
            let directory = try ScratchDirectory()
            let model = try Model(TinyVAR().write(directory))
            var options = SessionOptions()
            (options.threads, options.partner) = (2, model)
            let session = try model.session(Plan([CollaborativePlan(draftScales: 2)]), options)
            let asked = SampleRequest(["labels": [0, 3]])
            let expected = try session.sample(asked).latents?.array ?? []
            var at = Int64(0)
            while at < 100_000 {
                at += 1
                ck_fault_set(at, 0)
                let error = failure { _ = try session.sample(asked) }
                ck_fault_set(0, 0)
                guard let error else { break }
                #expect(error.code == .outOfMemory, "allocation \(at): \(error)")
                #expect(session.bytesHeld == 0, "allocation \(at)")
            }
            #expect(at > 20 && at < 100_000)
            #expect(try sameBits(session.sample(asked).latents?.array ?? [], expected))
        }
    }

    @Test func loadingSurvivesEveryFailedAllocation() async {
        await #expect(processExitsWith: .success) {
            let tiny = try Tiny(decoder: TinyAutoencoder())
            var at = Int64(0)
            while at < 100_000 {
                at += 1
                ck_fault_set(at, 0)
                let error = failure { _ = try Model(tiny.path) }
                ck_fault_set(0, 0)
                guard let error else { break }
                #expect(error.code == .outOfMemory, "allocation \(at): \(error)")
            }
            #expect(at > 50 && at < 100_000)
        }
    }
}

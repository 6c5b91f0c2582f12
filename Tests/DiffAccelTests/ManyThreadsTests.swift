import DiffTensor
import Foundation
import TestSupport
import Testing

@testable import DiffAccel

/// How the bundled models' work is cut for processors that are not at hand: dry pools claim up to 128 threads, do the tasks one after another
/// and tell how many there were. With DIFFACCEL_SCALING=1 what that allows is printed (Benchmarks/scaling.md).
@Suite struct ManyThreadsTests {
    struct Subject: Sendable, CustomTestStringConvertible {
        let model: String
        let request: SampleRequest
        var testDescription: String { model }
    }

    static let subjects = [
        Subject(model: "fashion-dit", request: SampleRequest(["labels": [1], "steps": 2])),
        Subject(model: "fashion-uvit", request: SampleRequest(["labels": [1], "steps": 2])),
        Subject(model: "fashion-var", request: SampleRequest(["labels": [1]])),
        Subject(model: "tiny-llada", request: SampleRequest(["prompt": "In the beginning", "length": 16, "steps": 4])),
        Subject(model: "emoji-sd", request: SampleRequest(["prompt": "red apple", "steps": 2])),
        Subject(model: "tiny-audio", request: SampleRequest(["prompt": "a slow melody on a flute", "steps": 2])),
    ]

    /// The parallel runs of one request.
    private final class Runs {
        var tasks: [Int] = []
        var seconds: [Double] = []

        /// How much faster so many threads are at these runs if nothing but uneven tasks holds them up.
        func speedUp(threads: Int) -> Double {
            var modelled = 0.0
            for (tasks, seconds) in zip(tasks, seconds) {
                modelled += seconds * Double((tasks + threads - 1) / threads) / Double(max(1, tasks))
            }
            return seconds.reduce(0, +) / modelled
        }
    }

    private func sameBytes(_ a: ResultTensor, _ b: ResultTensor) -> Bool {
        guard a.byteCount == b.byteCount, let left = a.raw, let right = b.raw else { return false }
        return memcmp(left, right, a.byteCount) == 0
    }

    @Test(arguments: subjects) func workIsCutForManyThreads(_ subject: Subject) throws {
        let models = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Models").standardized
        let model = try Model(models.appending(path: subject.model).path)
        let printed = ProcessInfo.processInfo.environment["DIFFACCEL_SCALING"] != nil
        var (first, before): (SampleResult?, Runs?) = (nil, nil)
        for threads in [1, 2, 4, 8, 16, 32, 64, 128] {
            let runs = Runs()
            let pool = try WorkerPool(dry: threads) {
                runs.tasks.append($0)
                runs.seconds.append($1)
            }
            let session = try Session(model, Plan(), SessionOptions(), pool: pool)
            let result = try session.sample(subject.request)
            if printed {
                print(
                    "\(subject.model), \(threads) threads: \(runs.tasks.count) parallel runs, \(runs.speedUp(threads: threads)) times as fast"
                )
            }
            #expect(session.threads == threads && result.statistics.threads == threads)
            guard let reference = first else {
                first = result
                continue
            }
            for (tensor, expected) in zip(result.tensors, reference.tensors) {
                #expect(sameBytes(tensor, expected), "\(tensor.name) with \(threads) threads")
            }
            // Small ops that one thread does alone are shared by two; from there on only the cuts become finer.
            if let before {
                #expect(runs.tasks.count == before.tasks.count, "runs with \(threads) threads")
                #expect(runs.tasks.reduce(0, +) >= before.tasks.reduce(0, +), "tasks with \(threads) threads")
            }
            before = runs
        }
    }
}

import DiffAccel
import Glibc

/// A run of a trainer from the command line: progress, log, Ctrl-C, and what is written at the end.
struct TrainingRun {
    let model: String
    let method: String
    let options: LearningOptionGroup
    let resources: TrainerOptionGroup
    /// Settings of the method.
    let own: [String: JSON?]
    /// The plan and the checkpoint folder to write.
    let plan: String?, folder: String?

    private var settings: JSON { options.settings(method, own, state: options.state) }

    /// Trains and writes the results; throws ``Stopped`` when Ctrl-C stopped it.
    func run() throws {
        if options.estimate { return try printEstimate() }
        try check()
        let trainer = try Trainer(model, settings, resources.model, resources.trainer)
        Interruption.stops(trainer)
        let log = try options.log.map { path throws(DiffError) in try LineFile(path) }
        do throws(DiffError) {
            try learn(trainer, log)
        } catch {
            guard error.code == .cancelled else { throw error }
            throw try stopped(trainer)
        }
        if let plan { try ResultFile.write(trainer.plan(), to: plan) }
        if let folder { try trainer.export(checkpoint: folder) }
        var outcome = try trainer.describe()
        if options.evaluate > 0 {
            outcome = outcome.with("evaluation", try trainer.evaluate(batches: options.evaluate))
        }
        report(outcome)
    }

    /// Looks, before the long run, for what would keep its results from being written.
    private func check() throws(DiffError) {
        guard options.state != StandardOutput.name else {
            throw DiffError(
                .invalidArgument, "--state names a file that is read again, so it cannot be standard output")
        }
        try ResultFile.checkFolder(folder, "--out")
        try StandardOutput.reserve([plan, options.log], besidesJSON: options.json)
        for file in [plan, options.state, options.log] { if let file { try ResultFile.check(file) } }
        guard let folder else { return }
        guard !Folder.isSame(folder, model) else {
            throw DiffError(.invalidArgument, "\(folder) is the model that is learned from: name another folder")
        }
        try Folder.make(folder)
    }

    private func learn(_ trainer: Trainer, _ log: LineFile?) throws(DiffError) {
        let bar = ProgressBar(isWanted: !options.json)
        defer { bar.clear() }
        var failure: DiffError?
        // Single steps jump about; a moving average shows where the loss goes.
        var average: Double?
        do throws(DiffError) {
            try trainer.run { event in tell(event) }
        } catch {
            throw failure ?? error
        }
        if let failure { throw failure }

        func tell(_ event: TrainingEvent) -> SampleDecision {
            let mean = average.map { $0 + 0.05 * (event.loss - $0) } ?? event.loss
            if event.loss.isFinite { average = mean }
            bar.show(event.step, of: event.steps, "learning", note: "loss \(Format.significant(mean, 4))")
            guard event.step % options.logEvery == 0 || event.step == event.steps else { return .continue }
            do throws(DiffError) {
                if options.json {
                    StandardOutput.say(event.json.serialized())
                    try StandardOutput.finish()
                }
                try log?.append(event.json.serialized())
            } catch {
                failure = error
                return .cancel
            }
            return .continue
        }
    }

    /// Keeps what was learned when Ctrl-C stopped the run, and says how to resume.
    private func stopped(_ trainer: Trainer) throws(DiffError) -> Stopped {
        let place = "stopped after step \(trainer.step) of \(trainer.steps)"
        if let state = options.state {
            return Stopped(message: "\(place); to resume, repeat the command with --resume (state: \(state))")
        }
        guard trainer.step > 0 else { return Stopped(message: "\(place); nothing was written") }
        let state = Self.spareState(ResultFile.said([plan, folder, model]).first ?? "learning")
        try trainer.save(to: state)
        return Stopped(message: "\(place); to resume, repeat the command with --state \(state) --resume")
    }

    /// Where the state goes when none was named.
    private static func spareState(_ output: String) -> String {
        var name = Substring(output)
        while name.count > 1, name.hasSuffix("/") { name = name.dropLast() }
        if name.hasSuffix(".json") { name = name.dropLast(5) }
        return name + ".state.safetensors"
    }

    private func printEstimate() throws(DiffError) {
        let estimate = try Trainer.estimate(
            model, options.settings(method, own, state: nil), resources.model, threads: resources.threads)
        if options.json { return StandardOutput.say(estimate.json.serialized()) }
        Facts.print([
            ("weights", Format.bytes(estimate.weights)),
            ("gradients, moments, averages", Format.bytes(estimate.learning)),
            ("activations of a step", Format.bytes(estimate.workspace)),
            ("together", Format.bytes(estimate.peak)),
            ("parameters that learn", Format.grouped(estimate.trained)),
        ])
    }

    private func report(_ outcome: JSON) {
        let written = ResultFile.said([plan, folder])
        if options.json {
            return StandardOutput.say(
                outcome.with("written", .array(written.map { .string($0) })).with("model", .string(model)).serialized())
        }
        var facts = [("learned", "\(method), \(outcome["step"]?.asInt ?? 0) steps")]
        if let share = outcome["removed"]?.asDouble {
            facts.append(("removed", "\(Format.percent(share)) of the sub-layers of cached steps"))
        }
        if let keep = outcome["keep"]?.asArray {
            facts.append(("blocks kept", keep.compactMap { $0.asInt.map { String($0) } }.joined(separator: " ")))
        }
        if let sure = outcome["confidences"]?.asArray?.compactMap(\.asDouble), let least = sure.min() {
            let mean = sure.reduce(0, +) / Double(sure.count)
            facts.append(("confidence", "\(Format.fixed(mean, 3)) on average, \(Format.fixed(least, 3)) at least"))
        }
        if case .object(let measures) = outcome["evaluation"] {
            for (name, value) in measures.sorted(by: { $0.key < $1.key }) where name != "removed" {
                facts.append((name, Format.significant(value.asDouble ?? .nan, 4)))
            }
        }
        if let peak = outcome["bytes"]?["peak"]?.asInt { facts.append(("memory", Format.bytes(peak))) }
        facts.append(("written", written.isEmpty ? "standard output" : written.joined(separator: ", ")))
        Facts.print(facts)
    }
}

import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

extension Trainer {
    /// The events of the steps that are left.
    func events() throws -> [TrainingEvent] {
        var events: [TrainingEvent] = []
        try run { event in
            events.append(event)
            return .continue
        }
        return events
    }
}

/// Two trainers write the same state, byte for byte.
func expectSameStates(
    _ a: Trainer, _ b: Trainer, in directory: ScratchDirectory, _ place: SourceLocation = #_sourceLocation
) throws {
    let paths = ("\(directory.path)/a.safetensors", "\(directory.path)/b.safetensors")
    try a.save(to: paths.0)
    try b.save(to: paths.1)
    let contents = (
        try FileBytes(path: paths.0).contents(limit: 1 << 24).array,
        try FileBytes(path: paths.1).contents(limit: 1 << 24).array
    )
    #expect(contents.0 == contents.1, sourceLocation: place)
}

/// The estimate of a training is near its measured peak, and a limit of a quarter of that is too little.
func expectEstimate(
    _ path: String, _ settings: JSON, _ name: String, _ place: SourceLocation = #_sourceLocation
) throws {
    let estimate = try Trainer.estimate(path, settings, threads: 1)
    var options = TrainerOptions()
    options.threads = 1
    let trainer = try Trainer(path, settings, ModelOptions(), options)
    try trainer.run()
    guard case .object(let members) = try trainer.describe(), case .object(let bytes)? = members["bytes"],
        let peak = bytes["peak"]?.asDouble
    else { return #expect(Bool(false), "no bytes", sourceLocation: place) }
    #expect(
        peak <= Double(estimate.peak) * 1.1 && peak >= Double(estimate.peak) * 0.8, "\(name): \(peak), \(estimate)",
        sourceLocation: place)
    options = TrainerOptions()
    options.memoryLimit = Int(peak / 4)
    let error = failure { try Trainer(path, settings, ModelOptions(), options).run() }
    #expect(error?.code == .overBudget, sourceLocation: place)
}

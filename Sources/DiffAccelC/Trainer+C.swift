public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

@c @implementation
public func da_trainer_options_init(_ options: UnsafeMutablePointer<da_trainer_options>?, _ size: UInt32) -> Int32 {
    boundary { () throws(DiffError) in try unsafe initialise(options, size) }
}

@c @implementation
public func da_trainer_create(
    _ path: UnsafePointer<CChar>?, _ settings: UnsafePointer<CChar>?, _ length: Int,
    _ model_options: UnsafePointer<da_model_options>?, _ options: UnsafePointer<da_trainer_options>?,
    _ trainer: UnsafeMutablePointer<da_trainer?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(trainer, "trainer")
        unsafe target.pointee = nil
        let created = try unsafe Trainer(
            requiredText(path, "path"), settingsJSON(settings, length), modelOptions(model_options),
            trainerOptions(options))
        let handle = try HandleTable.insert(created, .trainer)
        created.followCancellation(cancellation(of: handle))
        unsafe target.pointee = HandleTable.pointer(handle)
        return DA_OK
    }
}

@c @implementation
public func da_trainer_estimate(
    _ path: UnsafePointer<CChar>?, _ settings: UnsafePointer<CChar>?, _ length: Int,
    _ model_options: UnsafePointer<da_model_options>?, _ options: UnsafePointer<da_trainer_options>?,
    _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let estimate = try unsafe Trainer.estimate(
            requiredText(path, "path"), settingsJSON(settings, length), modelOptions(model_options),
            threads: trainerOptions(options).threads)
        return try unsafe emit(estimate.json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_trainer_run(
    _ trainer: da_trainer?, _ steps: Int64, _ callback: da_training_callback?, _ user: UnsafeMutableRawPointer?
) -> Int32 {
    boundary { () throws(DiffError) in
        let trainer = try unsafe HandleTable.object(trainer, .trainer, Trainer.self)
        guard steps >= 0 else { throw DiffError(.invalidArgument, "steps must not be negative, found \(steps)") }
        let host = unsafe TrainingHost(callback: callback, user: user)
        try trainer.run(steps == 0 ? nil : Int(steps)) { host.tell($0) }
        return DA_OK
    }
}

@c @implementation
public func da_trainer_cancel(_ trainer: da_trainer?) -> Int32 {
    // As da_session_cancel: neither locks nor per-thread texts may be touched in a signal handler.
    unsafe requestCancellation(trainer, .trainer)
}

@c @implementation
public func da_trainer_describe(
    _ trainer: da_trainer?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let trainer = try unsafe HandleTable.object(trainer, .trainer, Trainer.self)
        return try unsafe emit(trainer.describe().serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_trainer_evaluate(
    _ trainer: da_trainer?, _ batches: Int32, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let trainer = try unsafe HandleTable.object(trainer, .trainer, Trainer.self)
        return try unsafe emit(trainer.evaluate(batches: Int(batches)).serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_trainer_save(_ trainer: da_trainer?, _ path: UnsafePointer<CChar>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.object(trainer, .trainer, Trainer.self).save(to: requiredText(path, "path"))
        return DA_OK
    }
}

@c @implementation
public func da_trainer_restore(_ trainer: da_trainer?, _ path: UnsafePointer<CChar>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.object(trainer, .trainer, Trainer.self).restore(from: requiredText(path, "path"))
        return DA_OK
    }
}

@c @implementation
public func da_trainer_plan(_ trainer: da_trainer?, _ plan: UnsafeMutablePointer<da_plan?>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(plan) { () throws(DiffError) in
            try unsafe HandleTable.object(trainer, .trainer, Trainer.self).plan()
        }
    }
}

@c @implementation
public func da_trainer_export(_ trainer: da_trainer?, _ folder: UnsafePointer<CChar>?) -> Int32 {
    boundary { () throws(DiffError) in
        let trainer = try unsafe HandleTable.object(trainer, .trainer, Trainer.self)
        try unsafe trainer.export(checkpoint: requiredText(folder, "folder"))
        return DA_OK
    }
}

@c @implementation
public func da_trainer_close(_ trainer: da_trainer?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(trainer, .trainer)
        return DA_OK
    }
}

private func settingsJSON(_ text: UnsafePointer<CChar>?, _ length: Int) throws(DiffError) -> JSON {
    guard let text = unsafe text, length >= 1, length <= Limits.configBytes else {
        throw DiffError(.invalidArgument, "settings need 1...\(Limits.configBytes) bytes of JSON, found \(length)")
    }
    return try unsafe JSON(parsing: UnsafeRawBufferPointer(start: text, count: length), source: "settings")
}

private func trainerOptions(_ pointer: UnsafePointer<da_trainer_options>?) throws(DiffError) -> TrainerOptions {
    let raw = try unsafe decode(pointer, or: da_trainer_options())
    var options = TrainerOptions()
    options.threads = try threadCount(raw.threads)
    options.memoryLimit = byteLimit(raw.memory_limit)
    return options
}

/// The host's training function and its argument.
@safe
private struct TrainingHost {
    let callback: da_training_callback?
    let user: UnsafeMutableRawPointer?

    func tell(_ event: TrainingEvent) -> SampleDecision {
        guard let callback = unsafe callback else { return .continue }
        var text = Array(event.json.serialized().utf8)
        text.append(0)
        let confidences = event.confidences
        let status = unsafe text.withUnsafeBytes { (text) -> Int32 in
            unsafe confidences.withUnsafeBufferPointer { (confidences) -> Int32 in
                var raw = unsafe da_training_event()
                unsafe raw.struct_size = UInt32(MemoryLayout<da_training_event>.stride)
                unsafe (raw.step, raw.steps) = (Int64(event.step), Int64(event.steps))
                unsafe (raw.loss, raw.gradient_norm) = (event.loss, event.gradientNorm)
                unsafe (raw.learning_rate, raw.seconds) = (event.learningRate, event.seconds)
                unsafe raw.confidences = confidences.baseAddress
                unsafe raw.confidence_count = confidences.count
                unsafe raw.json = text.baseAddress?.assumingMemoryBound(to: CChar.self)
                return unsafe callback(user, &raw)
            }
        }
        return status == 0 ? .continue : .cancel
    }
}

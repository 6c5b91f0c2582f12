import CBoundary
public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

@c @implementation
public func da_session_create(
    _ model: da_model?, _ plan: da_plan?, _ options: UnsafePointer<da_session_options>?,
    _ session: UnsafeMutablePointer<da_session?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(session, "session")
        unsafe target.pointee = nil
        let raw = try unsafe decode(options, or: da_session_options())
        var decoded = SessionOptions()
        decoded.threads = try unsafe threadCount(raw.threads)
        decoded.memoryLimit = unsafe byteLimit(raw.memory_limit)
        if unsafe raw.partner != nil {
            decoded.partner = try unsafe HandleTable.object(raw.partner, .model, Model.self)
        }
        let stack = try unsafe plan == nil ? Plan() : HandleTable.object(plan, .plan, PlanBox.self).plan
        let created = try unsafe HandleTable.object(model, .model, Model.self).session(stack, decoded)
        let handle = try HandleTable.insert(created, .session)
        created.followCancellation(cancellation(of: handle))
        unsafe target.pointee = HandleTable.pointer(handle)
        return DA_OK
    }
}

/// The cancel word of a session's or trainer's handle.
func cancellation(of handle: UInt64) -> CancelFlag.Source {
    let slot = HandleTable.slot(handle)
    return CancelFlag.Source(
        isSet: { cb_cancel_requested(slot, handle) == 1 }, clear: { cb_cancel_clear(slot, handle) })
}

@c @implementation
public func da_session_estimate(
    _ session: da_session?, _ request: UnsafePointer<da_request>?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let decoded = try unsafe sampleRequest(required(request), to: session)
        return try unsafe emit(session.estimate(decoded).json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_session_sample(
    _ session: da_session?, _ request: UnsafePointer<da_request>?, _ result: UnsafeMutablePointer<da_result?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(result, "result")
        unsafe target.pointee = nil
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let raw = try unsafe required(request)
        let host = unsafe EventHost(callback: raw.callback, user: raw.user)
        let sampled = try unsafe session.sample(sampleRequest(raw, to: session)) { host.tell($0) }
        unsafe target.pointee = HandleTable.pointer(try HandleTable.insert(sampled, .result))
        return DA_OK
    }
}

@c @implementation
public func da_session_cancel(_ session: da_session?) -> Int32 {
    // No boundary: neither locks nor per-thread texts may be touched in a signal handler.
    unsafe requestCancellation(session, .session)
}

@c @implementation
public func da_session_close(_ session: da_session?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(session, .session)
        return DA_OK
    }
}

private func required(_ request: UnsafePointer<da_request>?) throws(DiffError) -> da_request {
    guard let request = unsafe request else { throw DiffError(.invalidArgument, "request is null") }
    return try unsafe decode(request)
}

/// The host's event function and its argument.
@safe
private struct EventHost {
    let callback: da_event_callback?
    let user: UnsafeMutableRawPointer?

    func tell(_ event: SampleEvent) -> SampleDecision {
        guard let callback = unsafe callback else { return .continue }
        var raw = unsafe da_event()
        unsafe raw.struct_size = UInt32(MemoryLayout<da_event>.stride)
        unsafe (raw.stage, raw.step, raw.steps) = (
            event.stage.rawValue, Int32(clamping: event.step), Int32(clamping: event.steps)
        )
        unsafe raw.timestep = Int32(clamping: event.timestep.flatMap { Checked.integer($0.rounded()) } ?? -1)
        unsafe raw.sites_computed = Int32(clamping: event.sites.computed)
        unsafe raw.sites_reused = Int32(clamping: event.sites.reused)
        unsafe raw.sites_skipped = Int32(clamping: event.sites.skipped)
        unsafe (raw.seconds, raw.flops) = (event.seconds, event.flops)
        if let latents = event.latents {
            unsafe raw.latents = UnsafePointer(latents.floats)
            let s = latents.shape
            unsafe raw.shape = (Int64(s[0]), Int64(s[1]), Int64(s[2]), Int64(s[3]))
        }
        unsafe raw.network = Int32(clamping: event.network)
        if let preview = event.preview {
            unsafe raw.preview = preview.storage.base.map {
                unsafe UnsafePointer($0.assumingMemoryBound(to: UInt8.self))
            }
            unsafe raw.preview_shape = (
                Int64(preview.count), Int64(preview.height), Int64(preview.width), Int64(preview.channels)
            )
        }
        return unsafe callback(user, &raw) == 0 ? .continue : .cancel
    }
}

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
    _ session: da_session?, _ json: UnsafePointer<CChar>?, _ length: Int, _ tensors: UnsafePointer<da_tensor>?,
    _ tensor_count: Int, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let request = try unsafe sampleRequest(json, length, tensors, tensor_count)
        return try unsafe emit(session.estimate(request).json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_session_run(
    _ session: da_session?, _ json: UnsafePointer<CChar>?, _ length: Int, _ tensors: UnsafePointer<da_tensor>?,
    _ tensor_count: Int, _ callback: da_event_callback?, _ user: UnsafeMutableRawPointer?,
    _ result: UnsafeMutablePointer<da_result?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(result, "result")
        unsafe target.pointee = nil
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let host = unsafe EventHost(callback: callback, user: user)
        let request = try unsafe sampleRequest(json, length, tensors, tensor_count)
        var failure: DiffError?
        let sampled: SampleResult
        do throws(DiffError) {
            sampled = try session.sample(request) { host.tell($0, &failure) }
        } catch {
            throw failure ?? error
        }
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

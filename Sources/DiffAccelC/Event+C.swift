public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor
import Synchronization

@c @implementation
public func da_event_tensor(
    _ event: UnsafePointer<da_event>?, _ name: UnsafePointer<CChar>?, _ view: UnsafeMutablePointer<da_tensor>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let box = try unsafe eventBox(event)
        return try unsafe fill(view) { () throws(DiffError) in try unsafe box.tensor(requiredText(name, "name")) }
    }
}

@c @implementation
public func da_event_describe(
    _ event: UnsafePointer<da_event>?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe emit(eventBox(event).event.json.serialized(), buf, capacity, needed)
    }
}

private func eventBox(_ pointer: UnsafePointer<da_event>?) throws(DiffError) -> EventBox {
    guard let pointer = unsafe pointer else { throw DiffError(.invalidArgument, "event is null") }
    return try unsafe HandleTable.object(decode(pointer).source, .event, EventBox.self)
}

extension da_event: VersionedStruct {
    static var typeName: String { "da_event" }
    static var earlierSizes: [Int] { [] }
    mutating func setDefaults() {}
}

/// An event behind the handle in its C form: whoever keeps that form beyond the call has a closed handle.
private final class EventBox: Sendable {
    let event: SampleEvent
    /// What was asked for: a view must stay valid during the call. Locked: a host may hand its event to other threads.
    private let asked = Mutex<[ResultTensor]>([])

    init(_ event: SampleEvent) { self.event = event }

    func tensor(_ name: String) throws(DiffError) -> ResultTensor {
        try asked.withLock { (asked) throws(DiffError) in
            if let known = asked.each.first(where: { $0.name == name }) { return known }
            let made = try event.tensor(name)
            asked.append(made)
            return made
        }
    }
}

/// The host's event function and its argument.
@safe
struct EventHost {
    let callback: da_event_callback?
    let user: UnsafeMutableRawPointer?

    /// Tells the host; when no handle can be made for the event, the run ends, and `failure` says why.
    func tell(_ event: SampleEvent, _ failure: inout DiffError?) -> SampleDecision {
        guard let callback = unsafe callback else { return .continue }
        let handle: UInt64
        do throws(DiffError) {
            handle = try HandleTable.insert(EventBox(event), .event)
        } catch {
            failure = error
            return .cancel
        }
        let source = unsafe HandleTable.pointer(handle)
        defer { _ = try? unsafe HandleTable.remove(source, .event) }
        var raw = unsafe da_event()
        unsafe raw.struct_size = UInt32(MemoryLayout<da_event>.stride)
        unsafe (raw.stage, raw.step, raw.steps) = (
            event.stage.rawValue, Int32(clamping: event.step), Int32(clamping: event.steps)
        )
        unsafe (raw.fraction, raw.seconds, raw.source) = (event.fraction, event.seconds, source)
        return unsafe callback(user, &raw) == 0 ? .continue : .cancel
    }
}

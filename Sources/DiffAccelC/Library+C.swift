import CBoundary
public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

@c @implementation
public func da_version_string() -> UnsafePointer<CChar>? { unsafe staticText(Library.versionText) }

@c @implementation
public func da_abi_version() -> Int32 { Int32(clamping: Library.abiVersion) }

@c @implementation
public func da_last_error() -> UnsafePointer<CChar>? { unsafe cb_error_text() }

@c @implementation
public func da_status_name(_ status: Int32) -> UnsafePointer<CChar>? {
    switch status {
    case DA_OK: unsafe staticText("DA_OK")
    case DA_MORE: unsafe staticText("DA_MORE")
    default: unsafe DiffError.Code(rawValue: status)?.cName ?? staticText("DA_UNKNOWN")
    }
}

@c @implementation
public func da_library_describe(
    _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in try unsafe emit(Library.description.serialized(), buf, capacity, needed) }
}

@c @implementation
public func da_set_log(_ callback: da_log_callback?, _ user: UnsafeMutableRawPointer?, _ level: Int32) -> Int32 {
    boundary { () throws(DiffError) in
        guard (DA_LOG_NONE...DA_LOG_INFO).contains(level) else {
            throw DiffError(.invalidArgument, "level must be \(DA_LOG_NONE)...\(DA_LOG_INFO), found \(level)")
        }
        let host = unsafe LogHost(callback: callback, user: user)
        Log.set(Log.Level(rawValue: level) ?? .error, unsafe callback == nil || level == DA_LOG_NONE ? nil : host.write)
        return DA_OK
    }
}

/// The host's log function and its argument.
@safe
private struct LogHost: @unchecked Sendable {
    // Unchecked: the header says that the callback may be called on any thread.
    let callback: da_log_callback?
    let user: UnsafeMutableRawPointer?

    @Sendable func write(_ level: Log.Level, _ message: String) {
        // Not `withCString`, which leaves checks that end the process.
        var text = Array(message.utf8)
        text.append(0)
        unsafe text.withUnsafeBytes { bytes in
            unsafe callback?(user, level.rawValue, bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
        }
    }
}

/// The address of a literal.
func staticText(_ text: StaticString) -> UnsafePointer<CChar> {
    unsafe UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

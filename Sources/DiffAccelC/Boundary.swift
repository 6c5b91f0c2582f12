import CBoundary
import CDiffAccel
import DiffTensor
import Glibc

/// The one way from C into the library: runs `body` in the default floating-point environment, turns what it throws into a
/// status and a text for `da_last_error`, and leaves errno and the host's floating-point environment as they were.
///
/// `body` returns a status, 0 or one of the positive outcomes.
func boundary(_ body: () throws(DiffError) -> Int32) -> Int32 {
    let before = errno
    let environment = FloatingPointEnvironment.enter()
    defer {
        environment.leave()
        errno = before
    }
    do throws(DiffError) {
        let status = try body()
        unsafe cb_error_set("", 0)
        return status
    } catch {
        var text = error.message
        text.withUTF8 { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe base.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                unsafe cb_error_set($0, bytes.count)
            }
        }
        return error.code.rawValue
    }
}

/// The pointer an out-parameter must be; throws when it is null.
func out<T>(_ pointer: UnsafeMutablePointer<T>?, _ name: String) throws(DiffError) -> UnsafeMutablePointer<T> {
    guard let pointer = unsafe pointer else { throw DiffError(.invalidArgument, "\(name) is null") }
    return unsafe pointer
}

/// The text at `pointer`, or nil for null. Throws when it is longer than `limit` bytes or no UTF-8.
func text(_ pointer: UnsafePointer<CChar>?, _ name: String, limit: Int = 4096) throws(DiffError) -> String? {
    guard let pointer = unsafe pointer else { return nil }
    guard unsafe strnlen(pointer, limit &+ 1) <= limit else {
        throw DiffError(.invalidArgument, "\(name) is longer than \(limit) bytes")
    }
    guard let text = unsafe String(validatingCString: pointer) else {
        throw DiffError(.invalidArgument, "\(name) is no valid UTF-8")
    }
    return text
}

/// The text at `pointer`; throws for null too.
func requiredText(_ pointer: UnsafePointer<CChar>?, _ name: String) throws(DiffError) -> String {
    guard let text = try unsafe text(pointer, name) else { throw DiffError(.invalidArgument, "\(name) is null") }
    return text
}

/// Puts `text` and a NUL into the caller's buffer; DA_MORE when it does not fit.
func emit(
    _ text: String, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) throws(DiffError) -> Int32 {
    guard capacity >= 0, unsafe buffer != nil || capacity == 0 else {
        throw DiffError(.invalidArgument, "buf is null but capacity is \(capacity)")
    }
    var text = text
    let size = text.utf8.count &+ 1
    if let needed = unsafe needed { unsafe needed.pointee = size }
    #if CANARY
    // A division by what may be zero.
    if Canary.boundary.isArmed { _ = size % capacity }
    #endif
    guard let buffer = unsafe buffer, capacity >= size else { return DA_MORE }
    text.withUTF8 { bytes in
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        unsafe UnsafeMutableRawPointer(buffer).copyMemory(from: base, byteCount: bytes.count)
    }
    unsafe buffer[size &- 1] = 0
    return DA_OK
}

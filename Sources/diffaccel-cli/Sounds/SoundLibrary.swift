import CSndFile
import DiffAccel
import Glibc

/// libsndfile, loaded when a sound is written: nothing else of the program needs it, and it is not everywhere.
@safe struct SoundLibrary {
    typealias Open =
        @convention(c) (
            UnsafeMutablePointer<SF_VIRTUAL_IO>?, Int32, UnsafeMutablePointer<SF_INFO>?, UnsafeMutableRawPointer?
        ) -> OpaquePointer?
    typealias Command = @convention(c) (OpaquePointer?, Int32, UnsafeMutableRawPointer?, Int32) -> Int32
    typealias WriteIntegers = @convention(c) (OpaquePointer?, UnsafePointer<Int32>?, sf_count_t) -> sf_count_t
    typealias WriteFloats = @convention(c) (OpaquePointer?, UnsafePointer<Float>?, sf_count_t) -> sf_count_t
    typealias Close = @convention(c) (OpaquePointer?) -> Int32

    let open: Open
    let command: Command
    let writeIntegers: WriteIntegers
    let writeFloats: WriteFloats
    let close: Close

    private static let file = "libsndfile.so.1"

    /// Throws `io` where it is not installed.
    init() throws(DiffError) {
        let library = unsafe dlopen(Self.file, RTLD_NOW | RTLD_LOCAL)
        guard let library = unsafe library else { throw Self.missing() }
        unsafe open = try Self.function("sf_open_virtual", of: library, as: Open.self)
        unsafe command = try Self.function("sf_command", of: library, as: Command.self)
        unsafe writeIntegers = try Self.function("sf_write_int", of: library, as: WriteIntegers.self)
        unsafe writeFloats = try Self.function("sf_write_float", of: library, as: WriteFloats.self)
        unsafe close = try Self.function("sf_close", of: library, as: Close.self)
    }

    @unsafe private static func function<Function>(
        _ name: String, of library: UnsafeMutableRawPointer, as type: Function.Type
    ) throws(DiffError) -> Function {
        guard let found = unsafe dlsym(library, name) else { throw missing() }
        return unsafe unsafeBitCast(found, to: type)
    }

    private static func missing() -> DiffError {
        let reason = unsafe dlerror().map { unsafe String(cString: $0) } ?? "\(file) cannot be loaded"
        return DiffError(
            .io, "\(reason): sounds are written through libsndfile; install it (Debian: apt-get install libsndfile1)")
    }
}

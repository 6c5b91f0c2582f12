import DiffCheckpoint
import DiffTensor
import Glibc
import Testing

/// All tests of this target run one after the other: some measure the memory of the process.
@Suite(.serialized) enum All {}

/// A directory that is removed with its contents when the object goes.
final class Scratch {
    let path: String
    private let keeps: Bool

    /// An existing directory, kept.
    init(at path: String) { (self.path, keeps) = (path, true) }

    init() {
        keeps = false
        var template = Array("/tmp/diffaccel-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            mkdtemp(buffer.baseAddress!).map { String(cString: $0) } ?? "/nonexistent"
        }
    }

    deinit { if !keeps { Self.remove(path) } }

    private static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        for name in entries(path) { remove("\(path)/\(name)") }
        rmdir(path)
    }

    static func entries(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let record = UnsafeRawBufferPointer(start: entry, count: Int(entry.pointee.d_reclen))
            let start = MemoryLayout<dirent>.offset(of: \dirent.d_name)!
            let name = String(decoding: record.dropFirst(start).prefix { $0 != 0 }, as: UTF8.self)
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    var names: [String] { Self.entries(path).sorted() }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) -> String {
        let full = "\(path)/\(name)"
        unlink(full)  // some file systems flush a file that was truncated and written again
        let file = open(full, O_WRONLY | O_CREAT | O_EXCL, 0o644)
        var done = 0
        while done < bytes.count {
            let moved = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, $0.count - done) }
            if moved <= 0 { break }
            done += moved
        }
        close(file)
        return full
    }

    func read(_ name: String) -> [UInt8] {
        let file = open("\(path)/\(name)", O_RDONLY)
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count <= 0 { return bytes }
            bytes += buffer[0..<count]
        }
    }

    func add(_ hostile: HostileFile) -> String {
        for (name, content) in hostile.files {
            let full = "\(path)/\(name)"
            switch content {
            case .bytes(let bytes): write(name, bytes)
            case .link(let target): symlink(target, full)
            case .pipe: mkfifo(full, 0o644)
            case .directory: mkdir(full, 0o755)
            case .sparse(let size):
                write(name, [])
                truncate(full, size)
            }
        }
        return hostile.target.isEmpty ? path : "\(path)/\(hostile.target)"
    }
}

/// Opens the checkpoint and loads every tensor.
func loadAll(_ path: String) throws(DiffError) -> Checkpoint {
    let checkpoint = try Checkpoint.open(path: path)
    for name in checkpoint.tensors.names { _ = try checkpoint.tensors.load(name) }
    return checkpoint
}

func error<T>(_ body: () throws(DiffError) -> T) -> DiffError? {
    do throws(DiffError) {
        _ = try body()
        return nil
    } catch { return error }
}

/// Memory of the process: what it has now and the most it had since the last reset.
enum Resident {
    static func reset() -> Int {
        // Free blocks go back to the system; not in Swift's view of the C library.
        if let trim = dlsym(nil, "malloc_trim") {
            _ = unsafeBitCast(trim, to: (@convention(c) (Int) -> Int32).self)(0)
        }
        let file = open("/proc/self/clear_refs", O_WRONLY)
        _ = Glibc.write(file, "5", 1)
        close(file)
        return field("VmRSS:")
    }

    static var peak: Int { field("VmHWM:") }

    private static func field(_ name: String) -> Int {
        guard let file = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix(name) {
                return (Int(text.filter(\.isNumber)) ?? 0) << 10
            }
        }
        return 0
    }
}

/// Whether `check` holds in one of five attempts: what belongs to the whole process is disturbed by tests of other
/// targets that run at the same time.
func undisturbed(_ check: () -> Bool) -> Bool {
    for _ in 0..<5 where check() { return true }
    return false
}

import CCommandLine

/// A file in memory, as libsndfile writes it.
struct MemoryFile {
    var bytes: [UInt8] = []
    var position = 0

    static var access: SF_VIRTUAL_IO {
        unsafe SF_VIRTUAL_IO(
            get_filelen: { unsafe sf_count_t(MemoryFile.at($0)?.pointee.bytes.count ?? 0) },
            seek: { unsafe MemoryFile.seek($0, $1, $2) },
            read: { unsafe MemoryFile.read($0, $1, $2) },
            write: { unsafe MemoryFile.write($0, $1, $2) },
            tell: { unsafe sf_count_t(MemoryFile.at($0)?.pointee.position ?? 0) })
    }

    private static func at(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<MemoryFile>? {
        unsafe pointer?.assumingMemoryBound(to: MemoryFile.self)
    }

    private static func seek(_ offset: sf_count_t, _ whence: Int32, _ user: UnsafeMutableRawPointer?) -> sf_count_t {
        guard let file = unsafe at(user) else { return -1 }
        let start =
            switch whence {
            case SEEK_CUR: unsafe file.pointee.position
            case SEEK_END: unsafe file.pointee.bytes.count
            default: 0
            }
        unsafe file.pointee.position = max(0, start + Int(offset))
        return unsafe sf_count_t(file.pointee.position)
    }

    private static func read(
        _ target: UnsafeMutableRawPointer?, _ count: sf_count_t, _ user: UnsafeMutableRawPointer?
    ) -> sf_count_t {
        guard let file = unsafe at(user), let target = unsafe target else { return 0 }
        let start = unsafe min(file.pointee.position, file.pointee.bytes.count)
        let end = unsafe min(start + Int(count), file.pointee.bytes.count)
        unsafe file.pointee.bytes[start..<end].withUnsafeBytes { source in
            if let from = source.baseAddress { unsafe target.copyMemory(from: from, byteCount: source.count) }
        }
        unsafe file.pointee.position = end
        return sf_count_t(end - start)
    }

    private static func write(
        _ source: UnsafeRawPointer?, _ count: sf_count_t, _ user: UnsafeMutableRawPointer?
    ) -> sf_count_t {
        guard let file = unsafe at(user), let source = unsafe source, count > 0 else { return 0 }
        let end = unsafe file.pointee.position + Int(count)
        if unsafe file.pointee.bytes.count < end {
            unsafe file.pointee.bytes += [UInt8](repeating: 0, count: end - file.pointee.bytes.count)
        }
        unsafe file.pointee.bytes.withUnsafeMutableBytes { target in
            if let to = target.baseAddress {
                unsafe (to + file.pointee.position).copyMemory(from: source, byteCount: Int(count))
            }
        }
        unsafe file.pointee.position = end
        return count
    }
}

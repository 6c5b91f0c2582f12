import CSndFile
import DiffAccel
import DiffCheckpoint

/// Sounds as files that players read: WAV or FLAC, as the ending of the name says.
enum SoundFile {
    /// How values are kept.
    enum Format: String, CaseIterable {
        case pcm16, pcm24, float

        fileprivate var bits: Int32 {
            switch self {
            case .pcm16: Int32(SF_FORMAT_PCM_16)
            case .pcm24: Int32(SF_FORMAT_PCM_24)
            case .float: Int32(SF_FORMAT_FLOAT)
            }
        }

        /// What 1 becomes, and how far left of an integer's end it stands; nil: values are kept as they are.
        fileprivate var whole: (largest: Double, shift: Int32)? {
            switch self {
            case .pcm16: (32767, 16)
            case .pcm24: (8_388_607, 8)
            case .float: nil
            }
        }
    }

    /// The endings that are known.
    private static let kinds = [(ending: ".wav", format: SF_FORMAT_WAV), (ending: ".flac", format: SF_FORMAT_FLAC)]

    /// Throws `invalidArgument` unless the ending of `path` is known; standard output gets WAV.
    static func check(_ path: String, _ format: Format) throws(DiffError) { _ = try kind(path, format) }

    private static func kind(_ path: String, _ format: Format) throws(DiffError) -> Int32 {
        guard path != StandardOutput.name else { return Int32(SF_FORMAT_WAV) }
        guard let found = kinds.first(where: { path.lowercased().hasSuffix($0.ending) }) else {
            throw DiffError(
                .invalidArgument,
                "\(path): sounds are written as \(kinds.map(\.ending).joined(separator: " or ")): name the file so")
        }
        guard format != .float || found.format == SF_FORMAT_WAV else {
            throw DiffError(.invalidArgument, "\(path): FLAC keeps whole numbers: pcm16 or pcm24")
        }
        return Int32(found.format)
    }

    /// Writes `values` in -1 ... 1, `rate` of them a second, as the file `path`, complete or not at all; to standard output for `-`. Values
    /// beyond are cut. Throws `io`, `invalidArgument`.
    static func write(
        _ values: [Float], rate: Int, to path: String, _ format: Format
    ) throws(DiffError) {
        var info = SF_INFO()
        (info.samplerate, info.channels) = (Int32(clamping: rate), 1)
        info.format = try kind(path, format) | format.bits
        var memory = MemoryFile()
        let written = unsafe withUnsafeMutablePointer(to: &memory) { memory in
            unsafe encode(values, format, &info, memory)
        }
        guard written else { throw DiffError(.io, "\(path): the sound cannot be written in this form at \(rate) Hz") }
        try ResultFile.write(memory.bytes, to: path)
    }

    private static func encode(
        _ values: [Float], _ format: Format, _ info: inout SF_INFO, _ memory: UnsafeMutablePointer<MemoryFile>
    ) -> Bool {
        var access = MemoryFile.access
        guard let file = unsafe sf_open_virtual(&access, Int32(SFM_WRITE), &info, memory) else { return false }
        // The same values are the same file, whenever it is written.
        unsafe sf_command(file, Int32(SFC_SET_ADD_PEAK_CHUNK), nil, Int32(SF_FALSE))
        let written: sf_count_t
        if let (largest, shift) = format.whole {
            let levels = values.map { level($0, largest) << shift }
            written = unsafe levels.withUnsafeBufferPointer {
                unsafe sf_write_int(file, $0.baseAddress, sf_count_t($0.count))
            }
        } else {
            written = unsafe values.withUnsafeBufferPointer {
                unsafe sf_write_float(file, $0.baseAddress, sf_count_t($0.count))
            }
        }
        let closed = unsafe sf_close(file)
        return written == sf_count_t(values.count) && closed == 0
    }

    /// The nearest whole number, as Python's files have it. 0 for what is no number.
    private static func level(_ value: Float, _ largest: Double) -> Int32 {
        let scaled = max(-1, min(1, Double(value))) * largest
        return Int32(exactly: scaled.rounded(.toNearestOrEven)) ?? 0
    }
}

/// A file in memory, as libsndfile writes it.
private struct MemoryFile {
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

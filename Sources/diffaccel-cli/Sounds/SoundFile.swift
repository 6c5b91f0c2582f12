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
        let library = try SoundLibrary()
        var memory = MemoryFile()
        let written = unsafe withUnsafeMutablePointer(to: &memory) { memory in
            unsafe encode(values, format, &info, memory, library)
        }
        guard written else { throw DiffError(.io, "\(path): the sound cannot be written in this form at \(rate) Hz") }
        try ResultFile.write(memory.bytes, to: path)
    }

    private static func encode(
        _ values: [Float], _ format: Format, _ info: inout SF_INFO, _ memory: UnsafeMutablePointer<MemoryFile>,
        _ library: SoundLibrary
    ) -> Bool {
        var access = MemoryFile.access
        guard let file = unsafe library.open(&access, Int32(SFM_WRITE), &info, memory) else { return false }
        // The same values are the same file, whenever it is written.
        _ = unsafe library.command(file, Int32(SFC_SET_ADD_PEAK_CHUNK), nil, Int32(SF_FALSE))
        let written: sf_count_t
        if let (largest, shift) = format.whole {
            let levels = values.map { level($0, largest) << shift }
            written = unsafe levels.withUnsafeBufferPointer {
                unsafe library.writeIntegers(file, $0.baseAddress, sf_count_t($0.count))
            }
        } else {
            written = unsafe values.withUnsafeBufferPointer {
                unsafe library.writeFloats(file, $0.baseAddress, sf_count_t($0.count))
            }
        }
        let closed = unsafe library.close(file)
        return written == sf_count_t(values.count) && closed == 0
    }

    /// The nearest whole number, as Python's files have it. 0 for what is no number.
    private static func level(_ value: Float, _ largest: Double) -> Int32 {
        let scaled = max(-1, min(1, Double(value))) * largest
        return Int32(exactly: scaled.rounded(.toNearestOrEven)) ?? 0
    }
}

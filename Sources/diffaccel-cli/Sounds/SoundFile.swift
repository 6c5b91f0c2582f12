import CCommandLine
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
        var written: Int32 = 0
        let missing: String? = unsafe withUnsafeMutablePointer(to: &memory) { memory in
            func encode(_ values: cc_sound_values) -> String? {
                unsafe cc_write_sound(info, values, MemoryFile.access, memory, &written).map {
                    unsafe String(cString: $0)
                }
            }
            guard let (largest, shift) = format.whole else {
                return unsafe values.withUnsafeBufferPointer {
                    unsafe encode(cc_sound_values(whole: nil, real: $0.baseAddress, count: sf_count_t($0.count)))
                }
            }
            return unsafe values.map { level($0, largest) << shift }.withUnsafeBufferPointer {
                unsafe encode(cc_sound_values(whole: $0.baseAddress, real: nil, count: sf_count_t($0.count)))
            }
        }
        if let missing {
            throw DiffError(
                .io,
                "\(missing): sounds are written through libsndfile; install it (Debian: apt-get install libsndfile1)")
        }
        guard written == 1 else {
            throw DiffError(.io, "\(path): the sound cannot be written in this form at \(rate) Hz")
        }
        try ResultFile.write(memory.bytes, to: path)
    }

    /// The nearest whole number, as Python's files have it. 0 for what is no number.
    private static func level(_ value: Float, _ largest: Double) -> Int32 {
        let scaled = max(-1, min(1, Double(value))) * largest
        return Int32(exactly: scaled.rounded(.toNearestOrEven)) ?? 0
    }
}

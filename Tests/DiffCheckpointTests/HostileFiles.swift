/// Hostile checkpoints as pure data: what lies in the directory, how it is opened, and what must come out.
///
/// Nothing here knows the reader, so that tests of other layers can write the same files.
struct HostileFile: Sendable {
    enum Content: Sendable {
        case bytes([UInt8])
        case link(String)
        case pipe
        case directory
        /// A file of this size that occupies nothing.
        case sparse(Int)
    }

    enum Verdict: Sendable, Equatable {
        case loads
        /// The status number and a part of the text.
        case fails(Int32, String)
    }

    let id: String
    let files: [(name: String, content: Content)]
    /// Opened relative to the directory; empty for the directory itself.
    let target: String
    let verdict: Verdict
}

enum Hostile {
    // Status numbers of the C library.
    static let argument: Int32 = -1
    static let io: Int32 = -2
    static let format: Int32 = -3
    static let unsupported: Int32 = -4

    /// Lengths and counts at which readers have gone wrong.
    static let numbers: [UInt64] = [
        0, 1, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 62) + 1, (1 << 63) - 1, 1 << 63, .max,
    ]

    static var all: [HostileFile] {
        lengths + tables + numbersInTables + textsInTables + names + json + encodings + overlaps + foreign
            + configurations + cutConfigurations + pipelines + shards + brokenShards + indexTexts + places
    }

    // MARK: Builders

    /// A safetensors file: length, header, `data` bytes of 0x40.
    static func image(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
        image(Array(header.utf8), data: data, length: length)
    }

    static func image(_ header: [UInt8], data: Int = 0, length: UInt64? = nil) -> [UInt8] {
        var number = (length ?? UInt64(header.count)).littleEndian
        return withUnsafeBytes(of: &number) { Array($0) } + header + [UInt8](repeating: 0x40, count: data)
    }

    static func entry(_ name: String, _ dtype: String = "F32", _ shape: String = "[1]", _ offsets: String = "[0,4]")
        -> String
    {
        "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }

    static func one(_ dtype: String, _ shape: String, _ offsets: String, data: Int) -> [UInt8] {
        image("{" + entry("a", dtype, shape, offsets) + "}", data: data)
    }

    static let good = image("{" + entry("a") + "}", data: 4)

    static func file(_ id: String, _ bytes: [UInt8], _ verdict: HostileFile.Verdict) -> HostileFile {
        HostileFile(id: id, files: [("x.safetensors", .bytes(bytes))], target: "x.safetensors", verdict: verdict)
    }

    static func directory(
        _ id: String, _ files: [(String, HostileFile.Content)], _ verdict: HostileFile.Verdict
    ) -> HostileFile {
        HostileFile(id: id, files: files.map { (name: $0.0, content: $0.1) }, target: "", verdict: verdict)
    }

    static func text(_ text: String) -> HostileFile.Content { .bytes(Array(text.utf8)) }
}

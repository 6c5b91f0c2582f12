import DiffTensor

/// What else can stand under the name of a checkpoint's file: other formats, and what downloads leave behind.
///
/// It is recognised in order to say what to do, and never read: several of these formats run code when loaded.
struct ForeignFormat {
    /// What there is to do about a file.
    enum Remedy {
        /// The converter takes it.
        case convert
        /// It holds another file that may be right.
        case unpack
        /// Nothing reads it.
        case replace
        /// It was meant to be another one.
        case fetch(String)

        func text(_ source: String) -> String {
            switch self {
            case .convert: "convert it with: python -m diffaccel.convert \(source) --out FOLDER"
            case .unpack: "unpack it first"
            case .replace: "it cannot be converted: take a release of the model in safetensors"
            case .fetch(let how): how
            }
        }
    }

    /// What it is, such as "a GGUF file".
    let name: String
    let remedy: Remedy

    /// Bytes at the beginning of a file that are looked at.
    static let prefixBytes = 512
    /// What to do about files that are not whole.
    static let again = "fetch the file again"

    /// What a file of `fileSize` bytes that begins with `prefix` is; nil when it is none of these.
    init?(_ prefix: UnsafeRawBufferPointer, fileSize: Int) {
        if fileSize == 0 {
            (name, remedy) = ("an empty file", .fetch(Self.again))
        } else if let text = unsafe TextPlaceholder(prefix) {
            (name, remedy) = (text.name, .fetch(text.remedy))
        } else if unsafe prefix.allSatisfy({ $0 == 0 }) {
            (name, remedy) = ("nothing but zeros in its first \(prefix.count) bytes", .fetch(Self.again))
        } else if let magic = Self.magics.first(where: { unsafe Self.has($0.bytes, at: $0.offset, in: prefix) }) {
            (name, remedy) = (magic.name, magic.remedy)
        } else {
            return nil
        }
    }

    /// Whether it looks like JSON, or like some text: not what a reader of JSON wants to hear.
    var isJSON: Bool { name == TextPlaceholder.json || name.hasPrefix("a text ") }

    /// The error for the file `source` in place of safetensors: `unsupported` for another format, `format` for what is none.
    func error(_ source: String) -> DiffError {
        let code: DiffError.Code = if case .fetch = remedy { .format } else { .unsupported }
        return DiffError(code, "\(source): \(name), not safetensors; \(remedy.text(source))")
    }

    /// The error for the text `source` in place of JSON.
    func errorForJSON(_ source: String) -> DiffError {
        let how = if case .fetch(let how) = remedy { how } else { Self.again }
        return DiffError(.format, "\(source): \(name), not JSON; \(how)")
    }

    /// Throws when a file beginning with `prefix` is known not to be safetensors.
    static func refuse(_ prefix: UnsafeRawBufferPointer, fileSize: Int, source: String) throws(DiffError) {
        // A safetensors header of 640 bytes begins like a pickle: what looks like one is judged as one.
        if let length = try? unsafe SafetensorsHeader.length(prefix, fileSize: fileSize, source: source), length > 0,
            prefix.count > SafetensorsHeader.prefixBytes,
            unsafe prefix[SafetensorsHeader.prefixBytes] == UInt8(ascii: "{")
        {
            return
        }
        if let found = unsafe ForeignFormat(prefix, fileSize: fileSize) { throw found.error(source) }
    }

    /// Whether `bytes` stand at `offset` in `prefix`.
    static func has(_ bytes: [UInt8], at offset: Int = 0, in prefix: UnsafeRawBufferPointer) -> Bool {
        for (position, byte) in bytes.numbered {
            let index = offset &+ position  // both below a kilobyte
            if unsafe index >= prefix.count || prefix[index] != byte { return false }
        }
        return true
    }

    // MARK: Formats by their first bytes

    private typealias Magic = (bytes: [UInt8], offset: Int, name: String, remedy: Remedy)

    private static let magics: [Magic] =
        [
            ([0x50, 0x4b, 0x03, 0x04], 0, "a zip archive (PyTorch writes such files)", .convert),
            ([0x50, 0x4b, 0x05, 0x06], 0, "an empty zip archive", .fetch(again)),
            (Array("ustar".utf8), 257, "a tar archive", .unpack), ([0x1f, 0x8b], 0, "a gzip archive", .unpack),
            ([0xfd, 0x37, 0x7a, 0x58, 0x5a], 0, "an xz archive", .unpack),
            (Array("BZh".utf8), 0, "a bzip2 archive", .unpack),
            ([0x28, 0xb5, 0x2f, 0xfd], 0, "a zstd archive", .unpack),
            ([0x04, 0x22, 0x4d, 0x18], 0, "an lz4 archive", .unpack),
            ([0x37, 0x7a, 0xbc, 0xaf], 0, "a 7z archive", .unpack),
            (Array("Rar!".utf8), 0, "a rar archive", .unpack), (Array("GGUF".utf8), 0, "a GGUF file", .replace),
            (Array("ggml".utf8), 0, "a GGML file", .replace), (Array("lmgg".utf8), 0, "a GGML file", .replace),
            (Array("tjgg".utf8), 0, "a GGML file", .replace),
            ([0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a], 0, "an HDF5 file (Keras, TensorFlow)", .replace),
            (Array("TFL3".utf8), 4, "a TensorFlow Lite file", .replace),
            ([0x93] + Array("NUMPY".utf8), 0, "a NumPy array file", .replace),
            ([0x89] + Array("PNG".utf8), 0, "a PNG picture", .replace),
            ([0xff, 0xd8, 0xff], 0, "a JPEG picture", .replace),
            ([0x7f] + Array("ELF".utf8), 0, "a program or library (ELF)", .replace),
        ] + pickles + networks

    /// Protocols of Python's pickle.
    private static let pickles: [Magic] = [UInt8(2), 3, 4, 5].map {
        ([0x80, $0], 0, "a Python pickle (older PyTorch writes such files)", .convert)
    }

    /// ONNX has no magic bytes: its version comes first, then the field of the producer.
    private static let networks: [Magic] = Array(UInt8(3)...12).map { ([0x08, $0, 0x12], 0, "an ONNX file", .replace) }
}

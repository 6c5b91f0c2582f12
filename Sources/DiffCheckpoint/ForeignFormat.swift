import DiffTensor

/// Formats that are recognised in order to say what to do, and never read: several of them run code when loaded.
enum ForeignFormat {
    /// Endings of weight files that need converting.
    static let endings = [".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".npz", ".npy", ".msgpack", ".onnx"]

    private static let magics: [(bytes: [UInt8], name: String)] = [
        ([0x50, 0x4b, 0x03, 0x04], "a zip archive (PyTorch or NumPy)"),
        ([0x50, 0x4b, 0x05, 0x06], "an empty zip archive"),
        ([0x80, 0x02], "a Python pickle"), ([0x80, 0x03], "a Python pickle"), ([0x80, 0x04], "a Python pickle"),
        ([0x80, 0x05], "a Python pickle"),
        (Array("GGUF".utf8), "a GGUF file"), (Array("ggml".utf8), "a GGML file"), (Array("lmgg".utf8), "a GGML file"),
        ([0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a], "an HDF5 file"),
        ([0x93] + Array("NUMPY".utf8), "a NumPy array file"),
        ([0x1f, 0x8b], "a gzip archive"),
    ]

    /// Throws `unsupported` when a file beginning with `prefix` is of a known other format.
    static func refuse(_ prefix: UnsafeRawBufferPointer, fileSize: Int, source: String) throws(DiffError) {
        // A safetensors header of 640 bytes begins like a pickle: what looks like one is judged as one.
        if let length = try? unsafe SafetensorsHeader.length(prefix, fileSize: fileSize, source: source), length > 0,
            prefix.count > SafetensorsHeader.prefixBytes,
            unsafe prefix[SafetensorsHeader.prefixBytes] == UInt8(ascii: "{")
        {
            return
        }
        for magic in magics.each where unsafe begins(prefix, with: magic.bytes) {
            throw DiffError(.unsupported, "\(source): \(magic.name), not safetensors; \(advice)")
        }
    }

    /// Whether `bytes` are the first ones of `prefix`.
    static func begins(_ prefix: UnsafeRawBufferPointer, with bytes: [UInt8]) -> Bool {
        for (position, byte) in bytes.numbered where unsafe position >= prefix.count || prefix[position] != byte {
            return false
        }
        return true
    }

    /// What to do with such a file.
    static let advice = "convert it with: python -m diffaccel.convert"
}

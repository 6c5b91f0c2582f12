import DiffAccel
import DiffCheckpoint

/// Where results are written: a file, complete or not at all, or standard output for the name `-`.
enum ResultFile {
    /// Writes text.
    static func write(_ text: String, to path: String) throws(DiffError) {
        guard path == StandardOutput.name else { return try AtomicFile.write(text, to: path) }
        try StandardOutput.write(Array(text.utf8), isText: true)
    }

    /// Writes bytes.
    static func write(_ bytes: [UInt8], to path: String) throws(DiffError) {
        guard path != StandardOutput.name else { return try StandardOutput.write(bytes) }
        let file = try AtomicFile(path: path)
        try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(DiffError) in
            try unsafe file.write(UnsafeRawBufferPointer(bytes))
        }
        try file.commit()
    }

    /// Writes tensors as a safetensors file.
    static func write(_ tensors: [String: Tensor], to path: String) throws(DiffError) {
        guard path == StandardOutput.name else { return try SafetensorsWriter.write(tensors, to: path) }
        var bytes: [UInt8] = []
        try unsafe SafetensorsWriter.write(tensors, named: path) { (piece) throws(DiffError) in
            bytes += unsafe Array(piece)
        }
        try StandardOutput.write(bytes)
    }

    /// Writes a plan.
    static func write(_ plan: Plan, to path: String) throws(DiffError) {
        guard path == StandardOutput.name else { return try plan.save(to: path) }
        try write(plan.json.serialized(pretty: true) + "\n", to: path)
    }

    /// What to say of files that were written; nothing of standard output.
    static func said(_ paths: [String?]) -> [String] { paths.compactMap(\.self).filter { $0 != StandardOutput.name } }

    /// Throws `io` unless a file could be written to `path`.
    static func check(_ path: String) throws(DiffError) {
        if path != StandardOutput.name { try Folder.check(path) }
    }

    /// Throws `invalidArgument` when a folder is asked for and `path` is standard output's name.
    static func checkFolder(_ path: String?, _ option: String) throws(DiffError) {
        guard path == StandardOutput.name else { return }
        throw DiffError(
            .invalidArgument, "\(option) names a folder, which cannot go to standard output; ./- is a folder called -")
    }
}

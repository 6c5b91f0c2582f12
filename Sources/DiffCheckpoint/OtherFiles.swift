import DiffTensor

/// Files in a folder without safetensors that say why there are none.
struct OtherFiles {
    /// What to tell.
    let error: DiffError

    /// Endings of downloads that have not come to their end.
    private static let unfinished = [
        ".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".!qB", ".tmp",
    ]
    private static let converted = [".bin", ".pt", ".pth", ".ckpt"]
    private static let archives = [".zip", ".tar", ".gz", ".xz", ".bz2", ".zst", ".7z", ".rar"]
    private static let foreign = [
        ".gguf", ".ggml", ".h5", ".keras", ".npz", ".npy", ".msgpack", ".onnx", ".tflite", ".pb", ".ot", ".engine",
        ".mlmodel", ".mlpackage",
    ]

    /// What to do about a file of this name; nil when its ending says nothing.
    static func remedy(of name: String) -> ForeignFormat.Remedy? {
        func ends(in endings: [String]) -> Bool { endings.each.contains { name.hasSuffix($0) } }
        if ends(in: unfinished) { return .fetch("let the download finish, or fetch the file again") }
        if ends(in: converted) { return .convert }
        if ends(in: archives) { return .unpack }
        return ends(in: foreign) ? .replace : nil
    }

    /// Looks through `directory`; nil when nothing in it explains the absence. Throws `io`.
    init?(_ directory: Directory) throws(DiffError) {
        let names = try directory.names(endingIn: "")
        // What is converted comes before what cannot be, whatever their names.
        for endings in [Self.unfinished, Self.converted, Self.archives, Self.foreign].each {
            let found = names.each.filter { name in endings.each.contains { name.hasSuffix($0) } }
            guard let first = found.first, let remedy = Self.remedy(of: first) else { continue }
            let code: DiffError.Code = if case .fetch = remedy { .format } else { .unsupported }
            error = DiffError(
                code,
                "\(directory.path): no safetensors file, but \(NameList(found).text); \(remedy.text(directory.path))")
            return
        }
        guard try directory.containsDirectory("snapshots") else { return nil }
        error = DiffError(
            .io,
            "\(directory.path): no weights, but a folder snapshots, as download caches have it: open the folder in it, with "
                + "follow_links (--follow-links)")
    }
}

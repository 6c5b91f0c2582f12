import DiffTensor

/// The files of weights in a folder: plain ones, and variants of them.
///
/// A variant has its name before the ending, `diffusion_pytorch_model.fp16.safetensors`; the index of a sharded one has it in one of
/// three places, by the version of the program that wrote it.
struct WeightFiles {
    let directory: Directory

    /// Plain files in the order in which they are looked for.
    static let plain = [
        "model.safetensors", "diffusion_pytorch_model.safetensors", "model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.json", "weights.safetensors",
    ]
    private static let stems = ["diffusion_pytorch_model", "model"]
    private static let endings = [
        (".", ".safetensors"), (".", ".safetensors.index.json"), (".safetensors.index.", ".json"),
        (".safetensors.", ".index.json"),
    ]

    /// The file, or the index of the shards, of each variant. Throws `io`.
    func variants() throws(DiffError) -> [String: String] {
        var files: [String: String] = [:]
        for name in try directory.names(endingIn: "").each {
            guard let variant = Self.variant(name) else { continue }
            // One file rather than shards where there are both, as of the plain ones.
            if let other = files[variant], other.utf8.count <= name.utf8.count { continue }
            files.put(name, for: variant)
        }
        return files
    }

    /// The variant that a file of this name holds; nil when it holds none.
    static func variant(_ name: String) -> String? {
        for stem in stems.each {
            for (start, end) in endings.each {
                guard let rest = name.without(prefix: stem + start), let variant = rest.without(suffix: end),
                    !variant.isEmpty, variant != "index", Array(variant.utf8).each.allSatisfy(isNamed)
                else { continue }
                return variant
            }
        }
        return nil
    }

    // Neither a dot nor what shards are numbered with: `fp16-00001-of-00002` is a part of a variant.
    private static func isNamed(_ byte: UInt8) -> Bool { byte != UInt8(ascii: ".") && byte != UInt8(ascii: "-") }

    /// The tensors of the variant, of the plain file without one or where there is none of that name, else of the only variant, else
    /// of the only file. Throws `format` when several would do, `io` when there is none.
    func tensors(variant: String?, isPipeline: Bool) throws(DiffError) -> TensorTable {
        if let variant, let file = try variants()[variant] { return try open(file) }
        for name in Self.plain where try directory.contains(name) { return try open(name) }
        let variants = try variants()
        let names = variants.keys.sorted(by: JSON.precedes)
        if let only = names.first, names.count == 1, let file = variants[only] { return try open(file) }
        guard names.isEmpty else {
            throw DiffError(
                .format,
                "\(directory.path): which weights? there are the variants \(NameList(names).text): choose one with variant "
                    + "(--variant)")
        }
        let others = try directory.names(endingIn: ".safetensors")
        if let only = others.first, others.count == 1 { return try open(only) }
        if isPipeline { return TensorTable(emptyAt: directory.path) }
        let wanted = Self.plain.joined(separator: ", ")
        if !others.isEmpty {
            throw DiffError(
                .format,
                "\(directory.path): which weights? found \(NameList(others).text), but none of \(wanted): open one of the "
                    + "files with its configuration, or rename it")
        }
        if let other = try OtherFiles(directory) { throw other.error }
        throw DiffError(
            .io, "\(directory.path): no weights; looked for \(wanted), or a single *.safetensors file")
    }

    private func open(_ name: String) throws(DiffError) -> TensorTable {
        if name.hasSuffix(".json") { return try TensorTable(index: name, in: directory) }
        return try TensorTable(directory.open(name))
    }
}

public import DiffTensor

/// A checkpoint on disk: its configuration and its tensors, opened and checked, nothing loaded.
public final class Checkpoint: Sendable {
    /// The directory or file as the caller named it.
    public let path: String
    /// `config.json`, or what the caller gave instead; nil when there is none.
    public let config: JSON?
    /// `model_index.json` of a pipeline folder; nil when there is none.
    public let pipeline: JSON?
    /// The tensors; empty in a pipeline folder, whose parts have folders of their own.
    public let tensors: TensorTable

    /// The directory; nil for a single file.
    public let directory: Directory?
    /// Where the configuration comes from, for messages.
    private let configSource: String

    /// The name of a configuration that the caller passes.
    private static let givenConfig = "options.config"

    /// Weight files in the order in which they are looked for.
    static let weightFiles = [
        "model.safetensors", "diffusion_pytorch_model.safetensors", "model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.json", "weights.safetensors",
    ]

    /// Opens the directory or the `.safetensors` file at `path`.
    ///
    /// A directory holds `config.json` and one of `model.safetensors`, `diffusion_pytorch_model.safetensors`, either
    /// with `.index.json` appended (shards), `weights.safetensors`, or exactly one other `*.safetensors` file. A
    /// file may have a `config.json` beside it only if the caller passes it as `config`.
    /// - Parameter config: used instead of the directory's `config.json`, which is then not read.
    /// - Parameter followingLinks: whether files inside the directory may be symbolic links, as in download caches.
    ///   By default they are refused, so that nothing outside the directory is read. Throws `io`, `format`, and
    ///   `unsupported` for files that need converting.
    public static func open(
        path: String, config: JSON? = nil, followingLinks: Bool = false
    ) throws(DiffError) -> Checkpoint {
        if try Directory.isDirectory(path) {
            return try Checkpoint(Directory(path: path, followingLinks: followingLinks), config: config)
        }
        return Checkpoint(path: path, tensors: try TensorTable(FileBytes(path: path)), config: config)
    }

    private init(path: String, tensors: TensorTable, config: JSON?) {
        (self.path, self.tensors, self.config, pipeline, directory) = (path, tensors, config, nil, nil)
        configSource = Self.givenConfig
    }

    private init(_ directory: Directory, config: JSON?) throws(DiffError) {
        path = directory.path
        self.directory = directory
        configSource = config == nil ? "config.json" : Self.givenConfig
        if let config {
            self.config = config
        } else {
            self.config = try directory.json("config.json")
        }
        let pipeline = try directory.json("model_index.json")
        self.pipeline = pipeline
        tensors = try Self.tensors(in: directory, isPipeline: pipeline != nil)
    }

    /// The configuration with typed access. Throws `format` when there is none.
    public var configuration: JSONObject {
        get throws(DiffError) {
            guard let config else {
                throw DiffError(
                    .format, "\(path): no config.json; pass the configuration with the model (config, --config FILE)")
            }
            return try JSONObject(config, source: configSource)
        }
    }

    /// Whether the checkpoint is a directory with a directory `name` in it. Throws `io` when that cannot be learned, and
    /// `format` when `name` is not a single component.
    public func hasSubdirectory(_ name: String) throws(DiffError) -> Bool {
        try directory?.containsDirectory(name) ?? false
    }

    /// Opens the part `name` of a pipeline folder, such as `transformer` or `vae`. Throws as
    /// ``open(path:config:followingLinks:)``.
    public func subdirectory(_ name: String, config: JSON? = nil) throws(DiffError) -> Checkpoint {
        guard let directory else {
            throw DiffError(.io, "\(path): a file, so there is no directory \"\(name)\" in it")
        }
        return try Checkpoint(directory.subdirectory(name), config: config)
    }

    /// Whether the checkpoint is a directory with a file `name` in it.
    public func hasFile(_ name: String) throws(DiffError) -> Bool { try directory?.contains(name) ?? false }

    /// The JSON file `name` of the directory (at most ``Limits/configBytes``), or nil when it is not there.
    public func json(_ name: String) throws(DiffError) -> JSON? { try directory?.json(name) }

    /// The JSON file `name` of the directory's directory `subdirectory`, or nil when either is not there.
    public func json(_ name: String, in subdirectory: String) throws(DiffError) -> JSON? {
        guard let directory, try directory.containsDirectory(subdirectory) else { return nil }
        return try directory.subdirectory(subdirectory).json(name)
    }

    private static func tensors(in directory: Directory, isPipeline: Bool) throws(DiffError) -> TensorTable {
        for name in weightFiles where try directory.contains(name) {
            if name.hasSuffix(".index.json") { return try TensorTable(index: name, in: directory) }
            return try TensorTable(directory.open(name))
        }
        let others = try directory.names(endingIn: ".safetensors")
        if let only = others.first, others.count == 1 { return try TensorTable(directory.open(only)) }
        if isPipeline { return TensorTable(emptyAt: directory.path) }
        let wanted = weightFiles.joined(separator: ", ")
        if !others.isEmpty {
            throw DiffError(
                .format,
                "\(directory.path): which weights? found \(NameList(others).text), but none of \(wanted): open one of the "
                    + "files with its configuration, or rename it")
        }
        if let other = try OtherFiles(directory) { throw other.error }
        throw DiffError(.io, "\(directory.path): no weights; looked for \(wanted), or a single *.safetensors file")
    }
}

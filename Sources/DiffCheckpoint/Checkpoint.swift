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
    /// Which of several files of weights is taken, as `fp16`; nil: the plain one, or the only one.
    private let variant: String?

    /// The name of a configuration that the caller passes.
    private static let givenConfig = "options.config"

    /// Opens the directory or the `.safetensors` file at `path`.
    ///
    /// A directory holds `config.json` and one of `model.safetensors`, `diffusion_pytorch_model.safetensors`, either
    /// with `.index.json` appended (shards), `weights.safetensors`, or exactly one other `*.safetensors` file. Where there is none of
    /// these, one variant of them will do (`model.fp16.safetensors`). A file may have a `config.json` beside it only
    /// if the caller passes it as `config`.
    /// - Parameter path: a directory, or a `.safetensors` file.
    /// - Parameter variant: the variant to take, such as `fp16` or `non_ema`; in a pipeline's parts that have none of that name the
    ///   plain files are taken. Throws `io` when no part has it.
    /// - Parameter config: used instead of the directory's `config.json`, which is then not read.
    /// - Parameter followingLinks: whether files inside the directory may be symbolic links, as in download caches.
    ///   By default they are refused, so that nothing outside the directory is read. Throws `io`, `format`, and
    ///   `unsupported` for files that need converting.
    public static func open(
        path: String, config: JSON? = nil, followingLinks: Bool = false, variant: String? = nil
    ) throws(DiffError) -> Checkpoint {
        if try Directory.isDirectory(path) {
            return try Checkpoint(
                Directory(path: path, followingLinks: followingLinks), config: config, variant: variant)
        }
        if let variant {
            throw DiffError(
                .invalidArgument,
                "\(path): a file, of which there is no variant \"\(variant.prefix(100))\": leave it out")
        }
        return Checkpoint(path: path, tensors: try TensorTable(FileBytes(path: path)), config: config)
    }

    private init(path: String, tensors: TensorTable, config: JSON?) {
        (self.path, self.tensors, self.config, pipeline, directory) = (path, tensors, config, nil, nil)
        (configSource, variant) = (Self.givenConfig, nil)
    }

    private init(
        _ directory: Directory, config: JSON?, variant: String?, isPart: Bool = false
    ) throws(DiffError) {
        path = directory.path
        self.variant = variant
        self.directory = directory
        configSource = config == nil ? "config.json" : Self.givenConfig
        if let config {
            self.config = config
        } else {
            self.config = try directory.json("config.json")
        }
        let pipeline = try directory.json("model_index.json")
        self.pipeline = pipeline
        let files = WeightFiles(directory: directory)
        if let variant, !isPart { try Self.require(variant, files, pipeline) }
        tensors = try files.tensors(variant: variant, isPipeline: pipeline != nil)
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

    /// The same checkpoint, of which only `tensors` count.
    public func with(_ tensors: TensorTable) -> Checkpoint { Checkpoint(self, tensors) }

    private init(_ other: Checkpoint, _ tensors: TensorTable) {
        (path, config, pipeline, directory) = (other.path, other.config, other.pipeline, other.directory)
        (configSource, variant, self.tensors) = (other.configSource, other.variant, tensors)
    }

    /// Whether the checkpoint is a directory with a directory `name` in it. Throws `io` when that cannot be learned, and
    /// `format` when `name` is not a single component.
    public func hasSubdirectory(_ name: String) throws(DiffError) -> Bool {
        try directory?.containsDirectory(name) ?? false
    }

    /// Opens the part `name` of a pipeline folder, such as `transformer` or `vae`. Throws as
    /// ``open(path:config:followingLinks:variant:)``.
    public func subdirectory(_ name: String, config: JSON? = nil) throws(DiffError) -> Checkpoint {
        guard let directory else {
            throw DiffError(.io, "\(path): a file, so there is no directory \"\(name)\" in it")
        }
        return try Checkpoint(directory.subdirectory(name), config: config, variant: variant, isPart: true)
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

    /// Throws `io` unless the folder, or one of the folders in it, has weights of this variant.
    private static func require(_ variant: String, _ files: WeightFiles, _ pipeline: JSON?) throws(DiffError) {
        var found = try files.variants()
        if case .object(let members)? = pipeline {
            for name in members.keys.sorted(by: JSON.precedes).each where Directory.isComponent(name) {
                guard try files.directory.containsDirectory(name) else { continue }
                let part = try WeightFiles(directory: files.directory.subdirectory(name)).variants()
                for other in Array(part.keys).each { found.put(name, for: other) }
            }
        }
        guard found[variant] == nil else { return }
        let names = found.keys.sorted(by: JSON.precedes)
        throw DiffError(
            .io,
            "\(files.directory.path): no weights of variant \"\(variant.prefix(100))\"; "
                + (names.isEmpty ? "there are no variants: leave it out" : "there are: \(NameList(names).text)"))
    }
}

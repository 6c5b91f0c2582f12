/// Bounds on what a checkpoint may contain.
///
/// They are far above anything a real checkpoint holds; a file beyond them is refused with a text that names the
/// bound, so that nothing read from a file can decide how long we work or how much we allocate.
public enum Limits {
    /// Bytes of a safetensors header; the format's own bound.
    public static let headerBytes = 100_000_000
    /// UTF-8 bytes of a tensor's name.
    public static let nameBytes = 1024
    /// Tensors of one file, and of all shards of a checkpoint together.
    public static let tensors = 1_000_000
    /// Files a sharded checkpoint may consist of.
    public static let shards = 10_000
    /// Bytes of a `*.safetensors.index.json`.
    public static let indexBytes = 100_000_000
    /// Bytes of a `config.json` or `model_index.json`.
    public static let configBytes = 4 << 20
    /// Values in a `config.json`, counted at every level.
    public static let configValues = 100_000
    /// Nesting of any JSON text.
    public static let jsonDepth = 32
    /// UTF-8 bytes of a path given by the caller (PATH_MAX of Linux).
    public static let pathBytes = 4096
    /// UTF-8 bytes of a file name read from a file (NAME_MAX of Linux).
    public static let fileNameBytes = 255
    /// Names looked at in a checkpoint's directory when none of the usual ones is there.
    public static let directoryEntries = 100_000
    /// Elements of a tensor that may be read as a Swift array.
    public static let arrayElements = 1 << 24
    /// Bytes of one tensor file; keeps every offset sum inside an `Int`.
    public static let fileBytes = 1 << 56

    /// Layers of a network.
    public static let layers = 4096
    /// Width of a network and of its projections.
    public static let width = 65_536
    /// Attention heads of a layer.
    public static let heads = 1024
    /// Entries of a vocabulary.
    public static let vocabulary = 10_000_000

    /// Bytes that reading the description (header, index, configuration) of a file of `fileSize` bytes may take in
    /// all: four times the file and 16 MiB. What would need more is refused before it is parsed.
    public static func parseMemory(fileSize: Int) -> Int {
        let base = 16 << 20
        return max(0, min(fileSize, fileBytes)) * 4 + base
    }
}

public import DiffTensor

extension JSON {
    /// Reads the JSON file at `path`, which the caller named. Throws `io`, and `format` for bad JSON and passed
    /// limits.
    public init(contentsOf path: String, limits: Limits = Limits()) throws(DiffError) {
        try self.init(FileBytes(path: path), limits)
    }

    /// Reads the JSON file `name` in the folder of the file at `path`. `name` comes out of a file: it must be a plain
    /// file name, and a symbolic link only to where the file at `path` itself is, as in download caches.
    public init(contentsOf name: String, besides path: String, limits: Limits = Limits()) throws(DiffError) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        try self.init(Directory(path: folder).open(name, besides: path), limits)
    }

    private init(_ file: FileBytes, _ limits: Limits) throws(DiffError) {
        self = try unsafe file.contents(limit: limits.bytes).withBytes { (text) throws(DiffError) in
            try unsafe JSON(parsing: text, limits: limits, source: file.path)
        }
    }
}

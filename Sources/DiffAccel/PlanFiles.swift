import DiffAcceleration
public import DiffCheckpoint
import DiffTensor

extension Plan {
    /// The largest plan file that is read: a router of 1000 steps and 4096 layers fits.
    public static let maxBytes = 64 << 20

    /// Bounds on a plan's JSON.
    public static let jsonLimits = JSON.Limits(bytes: maxBytes, values: 10_000_000)

    /// Reads the plan file at `path`; files it refers to stand in the same folder. Throws `io`, `format`, `unsupported`.
    public init(contentsOf path: String) throws(DiffError) {
        let json = try JSON(contentsOf: path, limits: Self.jsonLimits)
        try self.init(json, source: path) { (name) throws(DiffError) in
            try JSON(contentsOf: name, besides: path, limits: Self.jsonLimits)
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let folder = parts.dropLast().joined(separator: "/")
        try locating(path) { () throws(DiffError) in try stand(in: folder.isEmpty && parts.count > 1 ? "/" : folder) }
    }

    /// Writes the plan as JSON to `path`, atomically. Throws `io`.
    public func save(to path: String) throws(DiffError) {
        try AtomicFile.write(json.serialized(pretty: true) + "\n", to: path)
    }
}

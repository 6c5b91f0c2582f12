import DiffAcceleration
public import DiffCheckpoint
public import DiffTensor
import Glibc

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

    /// Reads what `name` names: a plan file or, where there is no such file, a rule written out (``Plan/wordForms``). Throws as
    /// ``init(contentsOf:)`` and ``init(word:)``, and `io` for what is neither.
    public init(named name: String) throws(DiffError) {
        let isMissing = unsafe access(name, F_OK) != 0 && errno == ENOENT
        guard isMissing else {
            try self.init(contentsOf: name)
            return
        }
        guard Self.isWord(name) else {
            throw DiffError(.io, "\(name.prefix(200)): there is no such file, and \(Self.unknown(name))")
        }
        try self.init(word: name)
    }

    /// Reads a plan from text: JSON, which may not name other files, or a rule written out. Throws `format`, `unsupported`, and
    /// `invalidArgument` for a malformed rule.
    public init(text: UnsafeRawBufferPointer, source: String) throws(DiffError) {
        // No plan's JSON begins with a letter.
        guard text.count <= 4096, let first = unsafe text.first, (0x61...0x7a).contains(first | 0x20) else {
            try self.init(unsafe JSON(parsing: text, limits: Self.jsonLimits, source: source), source: source)
            return
        }
        let word = unsafe String(decoding: text, as: UTF8.self)
        guard Self.isWord(word) else { throw DiffError(.format, "\(source): no JSON, and \(Self.unknown(word))") }
        try self.init(word: word)
    }

    /// Writes the plan as JSON to `path`, atomically. Throws `io`.
    public func save(to path: String) throws(DiffError) {
        try AtomicFile.write(json.serialized(pretty: true) + "\n", to: path)
    }
}

import DiffCheckpoint
public import DiffTensor

/// Names of a model's classes. A class may have several, separated by commas, as ImageNet's do: `tench, Tinca tinca`.
public struct ClassNames: Sendable, Equatable {
    /// All names of each class as one text; "" for a class without. Empty when no class has a name.
    public let texts: [String]

    /// No names.
    init() { texts = [] }

    /// The names in the config's list `labels`, else in `id2label` of the pipeline. Throws `format` for a list of another length and
    /// for an entry that is not a class.
    init(_ opened: Opened, classes: Int) throws(DiffError) {
        let labels = try opened.config.strings("labels", default: [])
        guard labels.isEmpty || labels.count == classes else {
            throw opened.config.error("labels", "\(labels.count) names for \(classes) classes")
        }
        guard labels.isEmpty, let table = try opened.pipeline?.optionalObject("id2label") else {
            texts = labels
            return
        }
        // A name takes memory, a class number does not: as many as the file has room for.
        var found: [String] = []
        for index in Indices(below: min(classes, Limits.configValues)) {
            guard let name = try table.optionalString(String(index)) else { continue }
            while found.count < index { found.append("") }
            found.append(name)
        }
        for stray in table.unread.each {
            throw DiffError(.format, "\(table.source): \(stray): no class: the model has 0..<\(classes)")
        }
        texts = found
    }

    /// Whether no class has a name.
    public var isEmpty: Bool { texts.isEmpty }

    /// The class called `name`: by all its names as one text or by any of them, and if there is none, without regard to case. Throws
    /// `invalidArgument` when there is no such class, or more than one.
    public func index(of name: String) throws(DiffError) -> Int {
        let bytes = Array(name.utf8)
        for ignoresCase in [false, true].each {
            let wanted = Self.normal(bytes, ignoresCase)
            guard !wanted.isEmpty else { break }
            var (whole, part) = (Matches(), Matches())
            for (index, text) in texts.numbered where !text.isEmpty {
                let all = Array(text.utf8)
                if Self.normal(all, ignoresCase) == wanted { whole.add(index) }
                if Self.names(all).each.contains(where: { Self.normal($0, ignoresCase) == wanted }) {
                    part.add(index)
                }
            }
            let found = whole.first == nil ? part : whole
            guard let index = found.first else { continue }
            if let other = found.second {
                throw DiffError(
                    .invalidArgument,
                    "\"\(name.prefix(100))\" is the name of the classes \(index) and \(other): give a number")
            }
            return index
        }
        throw unknown(name)
    }

    private func unknown(_ name: String) -> DiffError {
        guard !isEmpty else {
            return DiffError(
                .invalidArgument,
                "the model has no names for its classes, so there is no class \"\(name.prefix(100))\": use numbers")
        }
        var (known, shown): ([String], [String]) = (texts, [])
        for (index, text) in texts.numbered {
            for synonym in Self.names(Array(text.utf8)).each { known.append(Self.normal(synonym, true)) }
            if index < 10 { shown.append(text) }
        }
        return DiffError(
            .invalidArgument,
            "the model has no class \"\(name.prefix(100))\"\(Spelling.suggestion(for: name, among: known)) "
                + "(\(texts.count) names, such as \(shown.joined(separator: "; ")))")
    }

    /// The classes that a name means, as far as they matter.
    private struct Matches {
        var first, second: Int?

        mutating func add(_ index: Int) {
            if first == nil { first = index } else if second == nil { second = index }
        }
    }

    /// The single names of a text.
    private static func names(_ text: [UInt8]) -> [[UInt8]] {
        var names: [[UInt8]] = []
        var name: [UInt8] = []
        for byte in text.each {
            if byte == UInt8(ascii: ",") {
                names.append(name)
                name = []
            } else {
                name.append(byte)
            }
        }
        names.append(name)
        return names
    }

    /// A name without the spaces around it.
    private static func normal(_ name: [UInt8], _ ignoresCase: Bool) -> String {
        let space = UInt8(ascii: " ")
        var (normal, spaces): ([UInt8], Int) = ([], 0)
        for byte in name.each {
            guard byte != space else {
                spaces &+= normal.isEmpty ? 0 : 1
                continue
            }
            for _ in Indices(below: spaces) { normal.append(space) }
            spaces = 0
            let isCapital = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
            normal.append(ignoresCase && isCapital ? byte | 0x20 : byte)
        }
        return String(decoding: normal, as: UTF8.self)
    }

    var json: JSON { .array(texts.map { .string($0) }) }
}

extension Model {
    /// Names of the classes.
    public var classNames: ClassNames { family.classes }

    /// The class that `name` means: its number, or what ``ClassNames/index(of:)`` finds. Throws `invalidArgument`.
    public func classIndex(named name: String) throws(DiffError) -> Int {
        if let index = name.naturalNumber { return index }
        return try classNames.index(of: name)
    }
}

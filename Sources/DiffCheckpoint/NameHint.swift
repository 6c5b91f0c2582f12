import DiffTensor

/// What missing and unused names of tensors have in common, and what to do about it.
struct NameHint {
    let text: String

    /// What training wraps networks in, as parts of names.
    private static let wrappers = [
        "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
    ]
    /// Missing names that are looked for among all others, and prefixes that are tried: a file decides how many there are.
    private static let (samples, candidates) = (16, 16)

    /// Nil when at most half of the missing names are there in another form.
    init?(missing: Set<String>, unused: [String], path: String) {
        guard !missing.isEmpty, !unused.isEmpty else { return nil }
        var names: [String] = []
        for name in missing.sorted(by: JSON.precedes).each { names.append(name) }
        var held: [String: Bool] = [:]
        for name in unused.each { held.put(true, for: name) }
        let remedy = "python -m diffaccel.convert \(path) --out FOLDER"
        var (shortest, another): (String?, String?)
        for prefix in Self.prefixes(names, unused).each {
            guard another == nil, Self.isMost(of: names, where: { held[prefix + $0] != nil }) else { continue }
            if shortest == nil { shortest = prefix } else { another = prefix }
        }
        if let shortest {
            text =
                "the missing names are there with the prefix \"\(NameList.short(shortest))\" before them: \(remedy) takes it "
                + "off" + (another.map { " (also with \"\(NameList.short($0))\": --take chooses)" } ?? "")
            return
        }
        let bare = Set(unused.map(Self.unwrapped))
        if Self.isMost(of: names, where: bare.contains) {
            let parts = Self.wrappers.joined(separator: ", ")
            text = "the missing names are there with what training wraps networks in (\(parts)): \(remedy) takes it off"
            return
        }
        guard let prefix = Self.lacking(names, unused) else { return nil }
        text =
            "the missing names are there without \"\(NameList.short(prefix))\" before them: a part of a model? "
            + "\(remedy) puts it before the names of language models"
    }

    private static func isMost(of names: [String], where condition: (String) -> Bool) -> Bool {
        2 &* names.each.filter(condition).count > names.count
    }

    /// What stands before missing names in unused ones, shortest first.
    private static func prefixes(_ missing: [String], _ unused: [String]) -> [String] {
        var found: Set<String> = []
        for name in first(missing).each {
            for other in unused.each where other.hasSuffix(".\(name)") && found.count < candidates {
                found.insert(start(of: other, without: name))
            }
        }
        return Array(found).sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    /// What unused names lack of missing ones, when most do.
    private static func lacking(_ missing: [String], _ unused: [String]) -> String? {
        for name in first(missing).each {
            for other in unused.each where name.hasSuffix(".\(other)") {
                let prefix = start(of: name, without: other)
                let longer = Set(unused.map { prefix + $0 })
                if isMost(of: missing, where: longer.contains) { return prefix }
            }
        }
        return nil
    }

    /// A few of the names, always the same.
    private static func first(_ names: [String]) -> [String] {
        var first: [String] = []
        for name in names.sorted(by: JSON.precedes).each where first.count < samples { first.append(name) }
        return first
    }

    /// `name` up to where `end` begins, with which it ends.
    private static func start(of name: String, without end: String) -> String {
        var count = 0
        for _ in Array(name.utf8).each { count &+= 1 }
        for _ in Array(end.utf8).each { count &-= 1 }
        var start: [UInt8] = []
        for byte in Array(name.utf8).each where start.count < count { start.append(byte) }
        return String(decoding: start, as: UTF8.self)
    }

    /// `name` without the parts that training adds.
    private static func unwrapped(_ name: String) -> String {
        var parts: [String] = []
        var part: [UInt8] = []
        for byte in Array("\(name).".utf8).each {
            guard byte == UInt8(ascii: ".") else {
                part.append(byte)
                continue
            }
            let whole = String(decoding: part, as: UTF8.self)
            if !wrappers.contains(whole) { parts.append(whole) }
            part = []
        }
        return parts.joined(separator: ".")
    }
}

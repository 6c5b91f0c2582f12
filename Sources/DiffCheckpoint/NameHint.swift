import DiffTensor

/// What missing and unused names of tensors have in common, and what to do about it.
struct NameHint {
    let text: String

    /// What training wraps networks in, as parts of names.
    private static let wrappers = [
        "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
    ]
    /// Missing names that are looked for among all others, and prefixes that are counted: a file decides how many there are.
    private static let (samples, candidates) = (16, 16)

    /// Nil when at most half of the missing names are there in another form.
    init?(missing: Set<String>, unused: [String], path: String) {
        guard !missing.isEmpty, !unused.isEmpty else { return nil }
        let held = Set(unused)
        let remedy = "python -m diffaccel.convert \(path) --out FOLDER"
        let prefixes = Self.prefixes(missing, unused).filter { prefix in
            Self.isMost(missing) { held.contains(prefix + $0) }
        }
        if let prefix = prefixes.first {
            let others = prefixes.count == 1 ? "" : " (also \(NameList(Array(prefixes.dropFirst())).text { "\"\($0)\"" }))"
            text =
                "the missing names are there with the prefix \"\(NameList.short(prefix))\" before them\(others): "
                + "\(remedy) takes it off"
            return
        }
        let bare = Set(unused.each.map(Self.unwrapped))
        if Self.isMost(missing, where: bare.contains) {
            text =
                "the missing names are there with what training wraps networks in (\(Self.wrappers.joined(separator: ", "))): "
                + "\(remedy) takes it off"
            return
        }
        guard let prefix = Self.lacking(missing, unused, held) else { return nil }
        text =
            "the missing names are there without \"\(NameList.short(prefix))\" before them: a part of a model? "
            + "\(remedy) puts it before the names of language models"
    }

    private static func isMost(_ names: Set<String>, where condition: (String) -> Bool) -> Bool {
        2 * Array(names).each.filter(condition).count > names.count
    }

    /// What stands before missing names in unused ones, shortest first.
    private static func prefixes(_ missing: Set<String>, _ unused: [String]) -> [String] {
        var found: Set<String> = []
        for name in missing.sorted(by: JSON.precedes).prefix(samples) {
            for other in unused.each where other.hasSuffix(".\(name)") && found.count < candidates {
                found.insert(String(other.dropLast(name.count)))
            }
        }
        return found.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    /// What unused names lack of missing ones, when most do.
    private static func lacking(_ missing: Set<String>, _ unused: [String], _ held: Set<String>) -> String? {
        for name in missing.sorted(by: JSON.precedes).prefix(samples) {
            for other in unused.each where name.hasSuffix(".\(other)") {
                let prefix = String(name.dropLast(other.count))
                if isMost(missing, where: { $0.hasPrefix(prefix) && held.contains(String($0.dropFirst(prefix.count))) }) {
                    return prefix
                }
            }
        }
        return nil
    }

    private static func unwrapped(_ name: String) -> String {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        return parts.each.filter { !wrappers.contains($0) }.joined(separator: ".")
    }
}

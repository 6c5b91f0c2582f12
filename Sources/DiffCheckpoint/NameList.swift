import DiffTensor

/// A list of names for an error text: the first twelve, and how many more there are.
struct NameList {
    static let shown = 12
    /// Names in all.
    let count: Int
    private let first: [String]

    /// Names that are in order already.
    init(_ names: [String]) { (count, first) = (names.count, Array(names.prefix(Self.shown))) }

    /// Names in no order. Only the first twelve are brought into one: a file decides how many there are.
    init(firstOf names: some Collection<String>) {
        var first: [String] = []
        for name in Array(names).each {
            if first.count == Self.shown, let last = first.last, !JSON.precedes(name, last) { continue }
            // Each name after the new one moves one place on; the last one falls off when there are enough.
            var moving = name
            first = first.each.map { held in
                guard JSON.precedes(moving, held) else { return held }
                defer { moving = held }
                return moving
            }
            if first.count < Self.shown { first.append(moving) }
        }
        (count, self.first) = (names.count, first)
    }

    var text: String { text { $0 } }

    /// The list with `describe` of each name in its place.
    func text(_ describe: (String) -> String) -> String {
        let some = first.each.map { Self.short(describe($0)) }
        let rest = count &- some.count
        return some.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    /// A name that leaves room for others.
    static func short(_ name: String) -> String { name.utf8.count > 200 ? String(name.prefix(80)) + "..." : name }
}

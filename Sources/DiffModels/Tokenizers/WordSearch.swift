import DiffTensor

/// Many words looked for at once, in time linear in the text whatever the words are: a trie of the words read backwards, which is
/// walked from the end of a text to its beginning. Where the walk stands at a place, the longest word that begins there is known.
struct WordSearch: Sendable {
    private struct Node: Sendable {
        var children: [UInt32: Int] = [:]
        /// Where to go on when no child fits: the longest other beginning of a word, read backwards.
        var fallback = 0
        /// The word that is whole here, and its length; else that of the fallback.
        var entry = -1, length = 0
    }

    private var nodes = [Node()]

    struct Match {
        let range: Range<Int>
        let entry: Int
    }

    /// Adds a word; the last of equal ones counts.
    mutating func insert(_ word: [UInt32], _ entry: Int) {
        var at = 0
        for scalar in word.reversed().each {
            if let child = nodes.at(at)?.children[scalar] {
                at = child
                continue
            }
            let child = nodes.count
            nodes.append(Node())
            nodes.update(at: at) { $0.children.put(child, for: scalar) }
            at = child
        }
        guard at > 0 else { return }
        nodes.update(at: at) { ($0.entry, $0.length) = (entry, word.count) }
    }

    /// To be called when all words are there.
    mutating func link() {
        var (queue, next) = ([0], 0)
        while let parent = queue.at(next), let node = nodes.at(parent) {
            next &+= 1
            for (scalar, child) in node.children {
                queue.append(child)
                let fallback = parent == 0 ? 0 : step(node.fallback, scalar)
                let (entry, length) = nodes.at(fallback).map { ($0.entry, $0.length) } ?? (-1, 0)
                nodes.update(at: child) {
                    $0.fallback = fallback
                    if $0.length == 0 { ($0.entry, $0.length) = (entry, length) }
                }
            }
        }
    }

    private func step(_ from: Int, _ scalar: UInt32) -> Int {
        var at = from
        while true {
            guard let node = nodes.at(at) else { return 0 }
            if let child = node.children[scalar] { return child }
            if at == 0 { return 0 }
            at = node.fallback
        }
    }

    /// For every position of `text` where a word begins the longest one, from left to right. They may overlap. Throws `cancelled`.
    func matches(in text: TextStretch, _ cancel: CancelFlag?) throws(DiffError) -> [Match] {
        guard nodes.count > 1 else { return [] }
        var matches: [Match] = []
        var (at, position) = (0, text.end)
        while position > text.start {
            position &-= 1
            if position & 0xffff == 0 { try cancel?.check() }
            at = step(at, text.at(position) ?? 0)
            if let node = nodes.at(at), node.length > 0 {
                matches.append(Match(range: .ordered(position, position &+ node.length), entry: node.entry))
            }
        }
        return matches.reversed()
    }
}

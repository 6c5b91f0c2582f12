/// A set of sites, one bit each.
public struct SiteSet: Sendable, Equatable {
    private var words: [UInt64]

    /// No site.
    public init() { words = [] }

    /// These sites.
    public init(_ sites: [Site]) {
        self.init()
        for site in sites.each { insert(site) }
    }

    /// Whether `site` is in the set.
    public func contains(_ site: Site) -> Bool {
        let word = site.number >> 6
        return (words.at(word) ?? 0) >> UInt64(site.number & 63) & 1 == 1
    }

    /// Adds `site`.
    public mutating func insert(_ site: Site) {
        let word = site.number >> 6
        while words.count <= word { words.append(0) }
        words.update(at: word) { $0 |= 1 << UInt64(truncatingIfNeeded: site.number & 63) }
    }

    /// Adds every site of `other`.
    public mutating func formUnion(_ other: SiteSet) {
        while words.count < other.words.count { words.append(0) }
        for (word, bits) in other.words.numbered { words.update(at: word) { $0 |= bits } }
    }

    /// Whether no site is in the set.
    public var isEmpty: Bool { words.each.allSatisfy { $0 == 0 } }
}

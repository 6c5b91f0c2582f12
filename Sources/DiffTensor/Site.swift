/// A place in a network where a method may act: a dense number, given when the model is built.
public struct Site: Hashable, Sendable {
    /// Position in the network's ``SiteLayout``.
    public let number: Int
}

/// What is known about a site from the day the model is loaded.
public struct SiteInfo: Sendable, Equatable {
    /// What kind of module stands at the site.
    public enum Kind: String, Sendable, CaseIterable {
        case network, stage, block, attention, mlp, resnet, other
    }

    /// The module's path in the checkpoint, such as `blocks.3.attn`.
    public let name: String
    /// What kind of module stands here.
    public let kind: Kind
    /// The site around this one; nil for the network itself.
    public let parent: Site?
    /// Position in the block list the site belongs to; nil outside blocks.
    public let block: Int?
}

/// The sites of one network and its block list, fixed at load: what plans speak of and what they are checked against.
public struct SiteLayout: Sendable, Equatable {
    /// Architecture name, such as `dit`.
    public let family: String
    /// All sites by number, parents before children.
    public private(set) var sites: [SiteInfo] = []
    /// Number of blocks in the network's block list.
    public private(set) var blockCount = 0
    /// Whether outputs of a site have other shapes from call to call, so that none can be used again in a later one.
    public var shapesVary = false
    private var byName: [String: Int] = [:]

    /// A layout without sites for a network of `family`.
    public init(family: String) { self.family = family }

    /// Adds a site below `parent` and gives its number. A block site extends the block list.
    public mutating func add(_ name: String, _ kind: SiteInfo.Kind, in parent: Site? = nil) -> Site {
        let site = Site(number: sites.count)
        var block = parent.flatMap { info($0).block }
        if kind == .block {
            block = blockCount
            blockCount &+= 1
        }
        sites.append(SiteInfo(name: name, kind: kind, parent: parent, block: block))
        byName.put(site.number, for: name)
        return site
    }

    /// What is known about `site`; nothing about one of another layout.
    public func info(_ site: Site) -> SiteInfo {
        sites.at(site.number) ?? SiteInfo(name: "", kind: .other, parent: nil, block: nil)
    }

    /// The site called `name`, if there is one.
    public func site(named name: String) -> Site? { byName[name].map(Site.init(number:)) }

    /// All sites of these kinds, in the order in which the network visits them.
    public func sites(_ kinds: SiteInfo.Kind...) -> [Site] {
        sites.numbered.filter { kinds.contains($0.element.kind) }.map { Site(number: $0.offset) }
    }
}

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

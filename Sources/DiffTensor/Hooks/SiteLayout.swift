/// The blocks of a network that form one sequence: a network has one such list, or a few by name (an encoder's and a decoder's).
public struct BlockList: Sendable, Equatable {
    /// The list's path in the checkpoint, such as `blocks`.
    public let name: String
    /// Position among the lists of the network.
    public let number: Int
    /// Number of blocks.
    public internal(set) var count = 0
}

/// The sites of one network and its block lists, fixed at load: what plans speak of and what they are checked against.
public struct SiteLayout: Sendable, Equatable {
    /// Architecture name, such as `dit`.
    public let family: String
    /// All sites by number, parents before children.
    public private(set) var sites: [SiteInfo] = []
    /// The network's block lists, in the order in which they run.
    public private(set) var lists: [BlockList] = []
    /// What methods may want to know of the network.
    public let traits: Set<NetworkTrait>
    /// Steps of every run; nil: a request says how many.
    public let steps: Int?
    private var byName: [String: Int] = [:]

    /// A layout without sites for a network of `family` with these traits, whose runs all have this many steps.
    public init(family: String, _ traits: Set<NetworkTrait> = [], steps: Int? = nil) {
        (self.family, self.traits, self.steps) = (family, traits, steps)
    }

    /// The first of `wanted` that the network has not; nil when it has all.
    public func firstMissing(of wanted: [NetworkTrait]) -> NetworkTrait? {
        wanted.each.first { !traits.contains($0) }
    }

    /// The block list of a network that has one; the first of several.
    public var blocks: BlockList { lists.first ?? BlockList(name: "blocks", number: 0) }
    /// Blocks of all lists.
    public var blockCount: Int { lists.each.reduce(0) { $0 &+ $1.count } }

    /// Adds a site below `parent` and gives its number. A block site extends the block list called `list`; a site is on its parent's
    /// level unless `level` says which.
    public mutating func add(
        _ name: String, _ kind: SiteInfo.Kind, in parent: Site? = nil, list: String = "blocks", level: Int? = nil
    ) -> Site {
        let site = Site(number: sites.count)
        var (block, number) = (parent.flatMap { info($0).block }, parent.map { info($0).list } ?? 0)
        if kind == .block {
            number = lists.each.first { $0.name == list }?.number ?? lists.count
            if number == lists.count { lists.append(BlockList(name: list, number: number)) }
            block = lists.at(number)?.count
            lists.update(at: number) { $0.count &+= 1 }
        }
        let level = level ?? parent.flatMap { info($0).level }
        sites.append(SiteInfo(name: name, kind: kind, parent: parent, block: block, list: number, level: level))
        byName.put(site.number, for: name)
        return site
    }

    /// Declares that a skip connection leads from one block to the other.
    public mutating func pair(_ a: Site, _ b: Site) {
        sites.update(at: a.number) { $0.partner = b }
        sites.update(at: b.number) { $0.partner = a }
    }

    /// What is known about `site`; nothing about one of another layout.
    public func info(_ site: Site) -> SiteInfo {
        sites.at(site.number) ?? SiteInfo(name: "", kind: .other, parent: nil, block: nil, list: 0, level: nil)
    }

    /// The site of a number; nil when there are not so many.
    public func site(at number: Int) -> Site? { number >= 0 && number < sites.count ? Site(number: number) : nil }

    /// The site called `name`, if there is one.
    public func site(named name: String) -> Site? { byName[name].map(Site.init(number:)) }

    /// All sites of these kinds, in the order in which the network visits them.
    public func sites(_ kinds: SiteInfo.Kind...) -> [Site] { sites(kinds) }

    func sites(_ kinds: [SiteInfo.Kind]) -> [Site] {
        sites.numbered.filter { kinds.contains($0.element.kind) }.map { Site(number: $0.offset) }
    }
}

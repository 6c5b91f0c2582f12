/// A point in a network where a method may act: a dense number, given when the model is built.
///
/// A model numbers the sites of its network from 0 on. What methods are told, and what statistics speak of, is numbered through all
/// networks of the session, so that no two of its sites are equal: ``SamplingContext/site(_:of:)``.
public struct Site: Hashable, Sendable {
    /// Position among the sites of the network, or of the session.
    public let number: Int

    func moved(by base: Int) -> Site { Site(number: Checked.sum(number, base)) }
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
    /// Which of the network's block lists that is.
    public let list: Int
    /// How often the grid was halved before it, in networks that halve theirs; nil outside of such levels.
    public let level: Int?
    /// The block at the other end of a skip connection: neither makes sense without the other.
    public internal(set) var partner: Site?
}

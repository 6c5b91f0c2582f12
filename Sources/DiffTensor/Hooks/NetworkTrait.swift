/// Something that is so of a network, and that methods ask for: never which family it is of.
///
/// Networks declare theirs in their ``SiteLayout``. The words finish a sentence that begins with "a model that".
public struct NetworkTrait: Sendable, Hashable, CustomStringConvertible {
    /// What the network does, such as `generates scale by scale`.
    public let description: String

    /// A trait in words.
    public init(_ words: String) { description = words }

    /// Every step makes one scale of an image, from the smallest on; the number of steps is the network's.
    public static let generatesScales = NetworkTrait("generates scale by scale")
    /// Outputs of a site have other shapes from call to call, so that none can be used again in a later one.
    public static let variesShapes = NetworkTrait("gives outputs of another size in every step")
    /// Its transformers begin and end in linear layers rather than convolutions: Stable Diffusion 2 and XL, not 1.
    public static let projectsLinearly = NetworkTrait("projects linearly around its transformers")
    /// Keys and values of all positions stay in a memory, so that a pass may compute some positions only.
    public static let storesKeysAndValues = NetworkTrait("stores keys and values by position")
    /// The rows of its grid are times, the columns frequencies.
    public static let coversTimeAndFrequency = NetworkTrait("works on a grid of times and frequencies")
    /// The results at a position decide the token there.
    public static let predictsInPlace = NetworkTrait("predicts each token at its own position")
    /// The results at a position decide the token after it.
    public static let predictsNext = NetworkTrait("predicts each token at the position before")
}

public import DiffCheckpoint
public import DiffTensor

/// Collaborative decoding as data. JSON: `{"method": "code", "refiner": "name", "draft_scales": 8}`.
///
/// The session's model drafts the first scales; `refiner`, another model of the same family, codes and scales, makes the rest. In
/// a plan file it names a folder beside the file; in a plan given as text, any path. A session can also be given the refiner
/// already open.
public struct CollaborativePlan: LocatedPlanEntry, PartneredPlanEntry, Equatable {
    /// The name in plans.
    public static let method = "code"
    /// The number of the authors' main results.
    public static let defaultDraftScales = 8

    /// Where the refiner is; nil: the session's options hold it.
    public var refiner: String?
    /// How many scales the drafter makes.
    public var draftScales: Int
    /// The folder of the plan file that the refiner's name is relative to; nil: none, the name is a path of the caller.
    public private(set) var folder: String?

    /// An entry that hands over to `refiner` after `draftScales` scales.
    public init(refiner: String? = nil, draftScales: Int = CollaborativePlan.defaultDraftScales) {
        (self.refiner, self.draftScales) = (refiner, draftScales)
    }

    /// What an entry may say.
    public static let options = [
        OptionSpec(
            partnerOption, .text, absent: "the session is given it",
            "Folder of the model that makes the later scales: beside a plan file, else any path."),
        OptionSpec(
            "draft_scales", .integer(1...1000), default: .integer(defaultDraftScales),
            "Scales that the session's own model makes."),
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        refiner = try options.optional(Self.partnerOption)
        draftScales = try options.get("draft_scales")
        if let refiner, refiner.isEmpty || refiner.utf8.count > 4096 {
            throw options.error(Self.partnerOption, "expected the name of a folder")
        }
    }

    /// Takes the folder of its plan file. Throws `format` when the refiner is not a plain name in it.
    public mutating func stand(in folder: String) throws(DiffError) {
        guard let refiner else { return }
        guard !refiner.contains("/"), refiner != ".", refiner != ".." else {
            throw DiffError(
                .format, "refiner: a plan file may name a folder beside it only, found \"\(refiner)\"")
        }
        self.folder = folder
    }

    /// The option that names the partner.
    public static let partnerOption = "refiner"
    /// Where the refiner is.
    public var partnerPlace: PartnerPlace? { refiner.map { PartnerPlace(name: $0, folder: folder) } }

    /// The entry with its `method`.
    public var json: JSON {
        var members: [String: JSON] = ["method": .string(Self.method), "draft_scales": .integer(draftScales)]
        if let refiner { members["refiner"] = .string(refiner) }
        return .object(members)
    }

    /// Throws `incompatible` when the networks are not two that generate scale by scale, or no scale is left for one of them.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard layouts.count == 2, layouts.allSatisfy({ $0.traits.contains(.generatesScales) }) else {
            let names = layouts.map(\.family).joined(separator: ", ")
            throw DiffError(
                .incompatible, "a drafter and a refiner that generate scale by scale are needed, found \(names)")
        }
        if let scales = layouts.first?.steps { try Self.check(draftScales, of: scales) }
    }

    /// Throws `incompatible` unless both networks have a scale to make.
    static func check(_ draftScales: Int, of scales: Int) throws(DiffError) {
        guard draftScales >= 1, draftScales < scales else {
            throw DiffError(
                .incompatible, "draft_scales must be 1...\(scales &- 1) for \(scales) scales, found \(draftScales)")
        }
    }

    /// The method for one session.
    public func makeAcceleration() -> any Acceleration { CollaborativeDecoding(draftScales: draftScales) }
}

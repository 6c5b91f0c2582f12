public import DiffCheckpoint
public import DiffTensor

/// One method with its settings, as data: what a plan is made of.
public protocol PlanEntry: Sendable {
    /// The name in a plan's JSON, such as `l2c`.
    static var method: String { get }
    /// Its options: all that its JSON may say beside `method`.
    static var options: [OptionSpec] { get }
    /// The entry as JSON, with its `method`.
    var json: JSON { get }
    /// Reads an entry; `files` opens JSON files beside the plan and throws when there is no such place.
    init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError)
    /// Throws `incompatible` or `unsupported` when the method can never work on these networks.
    func check(_ layouts: [SiteLayout]) throws(DiffError)
    /// The method at work, for one session.
    func makeAcceleration() -> any Acceleration
}

extension PlanEntry {
    /// The members of an entry, checked against the method's options. Throws `format`, naming the member.
    public static func read(_ json: JSONObject) throws(DiffError) -> Options { try Options(json, table) }

    /// The options with the one that all entries have.
    static var table: [OptionSpec] {
        [OptionSpec("method", .choice([method]), "Which method the entry is of.")] + options
    }
}

/// An entry that names things beside its plan file.
public protocol LocatedPlanEntry: PlanEntry {
    /// Takes the folder of the plan file. Throws `format` for a name that leads out of it.
    mutating func stand(in folder: String) throws(DiffError)
}

/// Where the second model of a plan is.
public struct PartnerPlace: Sendable, Equatable {
    /// Its name in the plan: of a plan file a folder beside it, else a path.
    public let name: String
    /// The folder of the plan file; nil: none, the name is a path of the caller.
    public let folder: String?

    /// The model `name`, of a plan file in `folder`.
    public init(name: String, folder: String?) { (self.name, self.folder) = (name, folder) }

    /// The path of the model.
    public var path: String { folder.map { $0.isEmpty ? name : "\($0)/\(name)" } ?? name }
}

/// An entry that works with a second network, which its family opens beside the session's own.
public protocol PartneredPlanEntry: PlanEntry {
    /// The option that names the partner, such as `refiner`.
    static var partnerOption: String { get }
    /// Where the partner is; nil: the session's options hold it.
    var partnerPlace: PartnerPlace? { get }
}

/// An entry that has several processes evaluate a network together.
public protocol RankedPlanEntry: PlanEntry {
    /// How many; nil: one evaluates it.
    var rankMembers: Int? { get }
    /// What elements of tensors are between them.
    var wire: RankWire { get }
    /// The same with a network divided into these modules; nil: it divides one into another number of components.
    func divided(into components: [[String]]) throws(DiffError) -> Self?
    /// The same with this executor.
    func executed(by executor: AsyncPlan.Executor) throws(DiffError) -> Self
}

/// An entry that has something to say about some runs that it accelerates all the same.
public protocol AdvisedPlanEntry: PlanEntry {
    /// What the caller should know of a run of this kind; nil: nothing.
    func advice(_ context: SamplingContext) -> String?
}

/// An entry for which text may have to be decoded block by block.
public protocol BlockwisePlanEntry: PlanEntry {
    /// Whether it has to: a request without blocks then has one.
    var isBlockwise: Bool { get }
}

/// A stack of methods written down as data: made, learned, saved, shown, and refused when it does not fit.
public struct Plan: Sendable {
    /// Outermost first.
    public var entries: [any PlanEntry]

    /// A plan of these entries; none is the plain model.
    public init(_ entries: [any PlanEntry] = []) { self.entries = entries }

    /// Every method a plan can name. A new method is added here, and to ``stacking``, and nowhere else.
    static let methods: [any PlanEntry.Type] = [
        AsyncPlan.self, CollaborativePlan.self, DeepCachePlan.self, DepthPlan.self, KVCachePlan.self,
        LayerCachePlan.self, LiteFocusPlan.self,
    ]

    /// The names of all methods.
    public static var methodNames: [String] { methods.map { $0.method } }

    /// The options of every method's entries, by the name of the method.
    public static var optionTables: [String: [OptionSpec]] {
        var tables: [String: [OptionSpec]] = [:]
        for method in methods.each { tables.put(method.table, for: method.method) }
        return tables
    }

    /// Reads a plan: `{"methods": [entry, …]}`, one entry, or a released L2C router file.
    ///
    /// `files` opens a JSON file beside the plan by its plain name. Throws `format`, `unsupported`.
    public init(
        _ json: JSON, source: String, files: (String) throws(DiffError) -> JSON = Plan.noFiles
    ) throws(DiffError) {
        let object = try JSONObject(json, source: source)
        guard object.has("methods") else {
            entries = object.members.isEmpty ? [] : [try Self.entry(object, files)]
            return
        }
        try object.allow(only: ["methods", "comment", "version"])
        var entries: [any PlanEntry] = []
        for entry in try object.objects("methods").each { entries.append(try Self.entry(entry, files)) }
        #if CANARY
        // An element of a list that may be empty.
        if Canary.plan.isArmed { _ = entries[0] }
        #endif
        guard entries.count <= 64 else { throw DiffError(.format, "\(source): more than 64 methods") }
        self.entries = entries
    }

    /// Refuses every file: for plans that come as text.
    public static let noFiles: @Sendable (String) throws(DiffError) -> JSON = { (name) throws(DiffError) in
        throw DiffError(.unsupported, "a plan given as text cannot refer to the file \"\(name)\"")
    }

    private static func entry(
        _ object: JSONObject, _ files: (String) throws(DiffError) -> JSON
    ) throws(DiffError) -> any PlanEntry {
        let isRouterFile = !object.has("method") && object.has("logits")
        let name = isRouterFile ? LayerCachePlan.method : try object.string("method")
        guard let type = methods.each.first(where: { $0.method == name }) else {
            throw object.error("method", "no method \"\(name)\"; known: \(methodNames.joined(separator: ", "))")
        }
        return try type.init(object, files: files)
    }

    /// Tells the entries in which folder their plan file is. Throws `format` for a name that leads out of it.
    public mutating func stand(in folder: String) throws(DiffError) {
        for (index, entry) in entries.numbered {
            guard var located = entry as? any LocatedPlanEntry else { continue }
            try located.stand(in: folder)
            entries.put(located, at: index)
        }
    }

    /// The plan as JSON.
    public var json: JSON { .object(["methods": .array(entries.map(\.json))]) }

    /// Throws when an entry cannot work on these networks, or entries not with each other.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        try checkStacking()
        for entry in entries.each {
            try locating("method \"\(type(of: entry).method)\"") { () throws(DiffError) in try entry.check(layouts) }
        }
    }

    /// The methods at work, for one session.
    public func makeStack() -> AccelerationStack { AccelerationStack(entries.map { $0.makeAcceleration() }) }
}

import DiffAcceleration
import DiffCheckpoint
import DiffTensor

/// What a process has of a model as one of several ranks: the component of the network that it computes.
struct ModelShare: Sendable, Equatable {
    /// This process, and how many there are.
    let rank: Int, count: Int
    /// The modules of each component, as the model is divided in every run.
    let components: [[String]]
    /// That of this process.
    let component: Int
    /// Whether all ranks decode pictures.
    private let sharesDecoding: Bool

    /// The share that the setting `ranks` of `options` asks for of the model at `path`. The network is divided as at the size of its own
    /// pictures. Throws `invalidArgument` for a plan without the executor mpi, what joining throws, and what opening the model does.
    init(_ path: String, _ options: ModelOptions, _ asked: JSON) throws(DiffError) {
        let plan = try Self.plan(asked)
        guard let members = plan.ranked?.rankMembers else {
            throw DiffError(
                .invalidArgument,
                "model settings.ranks: the plan \(plan) has no executor mpi: its weights are needed whole")
        }
        let group = if let given = options.ranks { given } else { try Ranks.join() }
        var bare = options
        (bare.settings.ranks, bare.networkPart, bare.companions) = (nil, .nothing, .outlines)
        components = try Model(path, bare).preview(plan).components.each.map { $0.modules }
        (rank, count) = (group.rank, group.count)
        // With stride 2 one more rank makes evaluations of the last component.
        component = min(group.rank % max(1, members), components.count &- 1)
        sharesDecoding = options.settings.ranksDecode
    }

    private static func plan(_ json: JSON) throws(DiffError) -> Plan {
        guard case .string(let word) = json else { return try Plan(json, source: "model settings.ranks") }
        return try Plan(word: word).executed(by: .mpi)
    }

    /// The weights that are loaded.
    var part: WeightsPart {
        var others: [String] = []
        for (number, modules) in components.numbered where number != component {
            for module in modules.each { others.append(module) }
        }
        return WeightsPart(without: others)
    }

    /// What is loaded beside the network: rank 0 encodes for all, and decodes unless all do.
    var companions: Companions {
        Companions(encoders: rank == 0, decoder: rank == 0 || sharesDecoding, sharesDecoding: sharesDecoding)
    }

    /// For descriptions of the model.
    var json: JSON {
        .object([
            "rank": .integer(rank), "ranks": .integer(count), "component": .integer(component),
            "components": .integer(components.count),
            "modules": .array((components.at(component) ?? []).each.map { .string($0) }),
        ])
    }
}

extension Plan {
    /// The plan for a model of which this process has a share: divided as it is, and executed by ranks. Throws `incompatible` when it does not
    /// divide it so.
    func divided(as share: ModelShare?) throws(DiffError) -> Plan {
        guard let share else { return self }
        guard let divided = try divided(into: share.components) else {
            throw DiffError(
                .incompatible,
                "the model has the weights of component \(share.component) of \(share.components.count) only: the plan must divide it into "
                    + "as many, or the model be opened without the setting \"ranks\"")
        }
        return try divided.executed(by: .mpi)
    }
}

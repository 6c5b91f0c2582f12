public import DiffCheckpoint
public import DiffTensor

/// Depth pruning as data: which blocks of a network run. JSON: `{"method": "depth", "keep": [0, 2, 5, …]}`; for a network with
/// several block lists `"keep": {"encoder_blocks": [0, 2], "decoder_blocks": [1, 3]}`, where a list that is not named stays whole.
///
/// What remains computes as the checkpoint in which the other blocks were deleted does. Source: TinyFusion (arXiv
/// 2412.01199), whose decisions are such lists; other lists (by score, by hand) have the same form.
public struct DepthPlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "depth"

    /// Which blocks stay: positions in a block list, ascending.
    public enum Keep: Sendable, Equatable {
        /// Of the network's only list.
        case blocks([Int])
        /// By the name of the list.
        case lists([String: [Int]])
    }

    /// Which blocks stay.
    public let keep: Keep

    /// An entry that keeps these blocks of a network with one block list. Throws `invalidArgument` unless they ascend from 0 on.
    public init(keep: [Int]) throws(DiffError) { self.keep = .blocks(try Self.checked(keep)) }

    /// An entry that keeps these blocks of the lists named. Throws `invalidArgument` unless they ascend from 0 on.
    public init(keep: [String: [Int]]) throws(DiffError) {
        guard !keep.isEmpty else { throw DiffError(.invalidArgument, "a plan keeps blocks of at least one list") }
        var lists = keep
        for name in Array(keep.keys).each { lists.put(try Self.checked(keep[name] ?? []), for: name) }
        self.keep = .lists(lists)
    }

    private static func checked(_ keep: [Int]) throws(DiffError) -> [Int] {
        guard !keep.isEmpty, keep.count <= Limits.layers else {
            throw DiffError(.invalidArgument, "a plan keeps 1...\(Limits.layers) blocks, found \(keep.count)")
        }
        for (position, block) in keep.numbered {
            guard block >= 0, position == 0 || block > keep.at(position &- 1) ?? block else {
                throw DiffError(.invalidArgument, "kept blocks must ascend from 0 on, found \(block) at \(position)")
            }
        }
        return keep
    }

    /// What an entry may say.
    public static let options = [
        // How many there may be is said where lists are checked, for plans made in a program too.
        OptionSpec(
            "keep",
            .either([
                .list(.integer(0...Limits.layers), 0...Int.max),
                .object("an object of such lists by the name of the block list"),
            ]), "Blocks that run, as ascending positions in their block list; lists that are not named stay whole.")
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        guard case .object = json.value("keep") else {
            try self.init(keep: options.get("keep"))
            return
        }
        let lists = try json.object("keep")
        var keep: [String: [Int]] = [:]
        for name in lists.keys.each { keep.put(try lists.integers(name, in: 0...Limits.layers), for: name) }
        try self.init(keep: keep)
    }

    /// The entry with its `method`.
    public var json: JSON {
        func list(_ blocks: [Int]) -> JSON { .array(blocks.each.map { .integer($0) }) }
        let kept: JSON =
            switch keep {
            case .blocks(let blocks): list(blocks)
            case .lists(let lists): .object(lists.withValues(list))
            }
        return .object(["method": .string(Self.method), "keep": kept])
    }

    /// Throws `incompatible` when the model has no such blocks, or when one end of a skip connection stays without the other.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first else { return }
        let masks = try masks(layout)
        for site in layout.sites(.block).each {
            let info = layout.info(site)
            guard let partner = info.partner.map(layout.info), masks.keeps(info), !masks.keeps(partner) else {
                continue
            }
            throw DiffError(
                .incompatible,
                "\(info.name) and \(partner.name) are joined by a skip connection: keep both or neither")
        }
    }

    /// Which blocks of each list of `layout` stay. Throws `incompatible` for blocks and lists it does not have.
    func masks(_ layout: SiteLayout) throws(DiffError) -> BlockMasks {
        var masks = BlockMasks(layout)
        switch keep {
        case .blocks(let blocks):
            guard layout.lists.count == 1 else {
                let names = layout.lists.map(\.name).joined(separator: ", ")
                throw DiffError(
                    .incompatible,
                    "the \(layout.family) model has the block lists \(names): name one, {\"keep\": {\"…\": […]}}")
            }
            try masks.keep(blocks, of: layout.blocks, layout)
        case .lists(let lists):
            for name in Array(lists.keys).sorted().each {
                guard let list = layout.lists.each.first(where: { $0.name == name }) else {
                    let names = layout.lists.map(\.name).joined(separator: ", ")
                    throw DiffError(
                        .incompatible, "the \(layout.family) model has no block list \"\(name)\"; it has \(names)")
                }
                try masks.keep(lists[name] ?? [], of: list, layout)
            }
        }
        return masks
    }

    /// The pruning for one session.
    public func makeAcceleration() -> any Acceleration { DepthPruning(self) }
}

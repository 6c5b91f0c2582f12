/// How the ranks of a run share its calls: in groups of equally many members, of which each group evaluates some rows of every call, and
/// each member a part of the network.
///
/// All ranks draw the same noise and make the same steps; what they share is the evaluation of the network. Used by the run's thread.
public struct RankShare: @unchecked Sendable {
    // Unchecked: see above.
    private let ranks: RankRun?
    /// This process among all of them.
    public let rank: Int, count: Int
    /// Ranks that evaluate a network together.
    public let members: Int

    /// Number of groups, and that of this process.
    public let groups: Int, group: Int
    /// This process within its group.
    public let member: Int

    /// The share of this process in the run `ranks`, in groups of `members`.
    public init(_ ranks: RankRun, members: Int) { self.init(ranks, ranks.rank, ranks.count, members) }

    /// What the process `rank` of `count` would do and take: for dry runs.
    public init(foreseen rank: Int, of count: Int, members: Int) { self.init(nil, rank, count, members) }

    private init(_ ranks: RankRun?, _ rank: Int, _ count: Int, _ members: Int) {
        let members = max(1, members)
        (self.ranks, self.rank, self.count, self.members) = (ranks, rank, count, members)
        (groups, group, member) = (max(1, count / members), rank / members, rank % members)
    }

    /// A tensor that another rank sends.
    public struct Incoming {
        /// Holds what was sent once `RankShare.wait(_:)` returns.
        public let tensor: Tensor
        fileprivate let message: RankMessage?
    }

    /// A tensor on its way to another rank; it stays while this does.
    public struct Outgoing {
        fileprivate let tensor: Tensor
        fileprivate let message: RankMessage?
    }

    /// Begins to send `x` to a member of the own group.
    public func send(_ x: Tensor, toMember member: Int, tag: Int, _ run: Run) throws(DiffError) -> Outgoing {
        Outgoing(tensor: x, message: try ranks?.send(x, to: group &* members &+ member, tag: tag, run))
    }

    /// Returns when all of these have been sent.
    public func wait(_ outgoing: [Outgoing]) throws(DiffError) {
        for outgoing in outgoing.each { if let message = outgoing.message { try ranks?.wait(message) } }
    }

    /// Begins to receive a tensor of this shape from a member of the own group.
    public func receive(
        _ shape: Shape, fromMember member: Int, tag: Int, _ run: Run
    ) throws(DiffError) -> Incoming {
        let tensor = try run.workspace.take(shape)
        return Incoming(
            tensor: tensor, message: try ranks?.receive(into: tensor, from: group &* members &+ member, tag: tag, run))
    }

    /// Returns when `incoming` is there.
    public func wait(_ incoming: Incoming) throws(DiffError) {
        if let message = incoming.message { try ranks?.wait(message) }
    }

    /// Moves messages on and attends to the other ranks. Throws when the run cannot go on.
    public func progress() throws(DiffError) { try ranks?.progress() }

    /// Puts `x` of one member of the own group, to the bit, into `x` of all others, which must be nobody else's. Gives what is then on its way.
    public func spread(_ x: Tensor, fromMember source: Int, _ run: Run) throws(DiffError) -> [Outgoing] {
        guard let ranks else { return [] }
        guard member == source else {
            let message = try ranks.receive(
                into: x, from: group &* members &+ source, tag: RankShare.spreadTag, exact: true, run)
            try ranks.wait(message)
            return []
        }
        var outgoing: [Outgoing] = []
        for other in Indices(below: members) where other != source {
            let message = try ranks.send(
                x, to: group &* members &+ other, tag: RankShare.spreadTag, exact: true, run)
            outgoing.append(Outgoing(tensor: x, message: message))
        }
        return outgoing
    }

    /// The first of the `rows` of a call that group `group` evaluates.
    private func first(_ group: Int, of rows: Int) -> Int { group &* rows / max(1, groups) }

    /// Whether groups share the rows of a call of so many; of fewer rows than groups each evaluates all.
    public func splits(_ rows: Int) -> Bool { groups > 1 && rows >= groups }

    /// The rows of a call of so many that the own group evaluates.
    public func part(of rows: Int) -> (first: Int, count: Int) {
        let start = first(group, of: rows)
        return (start, first(group &+ 1, of: rows) &- start)
    }

    /// All `rows` rows of a call, of which the own group made `mine`.
    public func joined(_ mine: Tensor, rows: Int, _ run: Run) throws(DiffError) -> Tensor {
        let out = try run.workspace.take(mine.shape.replacingFirst(rows))
        for other in Indices(below: groups) where other != group {
            _ = try ranks?.send(mine, to: other &* members &+ member, tag: RankShare.rowsTag, exact: true, run)
        }
        for other in Indices(below: groups) {
            let start = first(other, of: rows)
            let part = try out.rows(start, first(other &+ 1, of: rows) &- start)
            if other == group {
                run.copyContents(of: mine, to: part)
            } else if let message = try ranks?.receive(
                into: part, from: other &* members &+ member, tag: RankShare.rowsTag, exact: true, run)
            {
                try ranks?.wait(message)
            }
        }
        return out
    }

    /// Puts `x` of rank 0, to the bit, into `x` of all others.
    func spread(_ x: Tensor, _ run: Run) throws(DiffError) { try ranks?.broadcast(x, from: 0, run) }

    /// Begins to send a piece of what rank 0 puts together, to the bit.
    func sendPiece(_ x: Tensor, _ run: Run) throws(DiffError) -> Outgoing {
        Outgoing(tensor: x, message: try ranks?.send(x, to: 0, tag: RankShare.pieceTag, exact: true, run))
    }

    /// Begins to receive a piece of this shape that `rank`, of all ranks, sends.
    func receivePiece(_ shape: Shape, from rank: Int, _ run: Run) throws(DiffError) -> Incoming {
        let tensor = try run.workspace.take(shape)
        let message = try ranks?.receive(into: tensor, from: rank, tag: RankShare.pieceTag, exact: true, run)
        return Incoming(tensor: tensor, message: message)
    }

    /// The least of the numbers that all ranks have; they call it in the same order.
    public func least(_ own: Int) throws(DiffError) -> Int {
        guard let ranks else { return own }
        var writer = ByteWriter()
        writer.number(own)
        var least = own
        for bytes in try ranks.share(writer.bytes).each {
            var reader = ByteReader(bytes)
            if let number = reader.number() { least = min(least, number) }
        }
        return least
    }

    /// Tags from here on are the share's own.
    public static let ownTags = 15_000
    private static let spreadTag = ownTags, rowsTag = ownTags + 1, pieceTag = ownTags + 2
}

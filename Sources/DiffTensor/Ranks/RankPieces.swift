/// What ranks that share a run do for one another outside of its calls: one encodes for all, all decode for one.
extension Run {
    /// Whether this process is the only one, or the rank 0 of several: the one that has the results, and reads prompts for the others.
    public var isRoot: Bool { ranks?.rank ?? 0 == 0 }

    /// Puts `x` of rank 0, to the bit, into `x` of the other ranks, if there are any.
    public func spread(_ x: Tensor) throws(DiffError) { try ranks?.spread(x, self) }

    /// Makes `count` pieces of this shape and hands each to `use`, in order.
    ///
    /// Where ranks share the run, piece n is made by rank n modulo their number, all of them at the same time, and travels as it is to rank 0,
    /// which alone uses pieces: the results are those of one process, to the bit. What `make` reads has to be the same on every rank. Throws
    /// what `make` and `use` throw, and what ends the run of the ranks.
    public func pieces(
        _ count: Int, of shape: Shape, make: (Int) throws(DiffError) -> Tensor,
        use: (Int, Tensor) throws(DiffError) -> Void
    ) throws(DiffError) {
        guard let ranks else {
            for piece in Indices(below: count) { try use(piece, make(piece)) }
            return
        }
        let each = max(1, ranks.count)
        guard isRoot else {
            var piece = ranks.rank
            // One is on its way while the next one is made.
            var sent: [RankShare.Outgoing] = []
            while piece < count {
                let made = try make(piece)
                guard made.shape == shape else { throw DiffError(.internal, "a piece \(made.shape) of \(shape)") }
                try ranks.wait(sent)
                sent = [try ranks.sendPiece(made, self)]
                piece &+= each
            }
            return try ranks.wait(sent)
        }
        var first = 0
        while first < count {
            let end = min(count, first &+ each)
            var incoming: [RankShare.Incoming] = []
            for piece in Indices(below: end) where piece > first {
                incoming.append(try ranks.receivePiece(shape, from: piece &- first, self))
            }
            try use(first, make(first))
            for (offset, piece) in incoming.numbered {
                try ranks.wait(piece)
                try use(first &+ 1 &+ offset, piece.tensor)
            }
            first = end
        }
    }
}

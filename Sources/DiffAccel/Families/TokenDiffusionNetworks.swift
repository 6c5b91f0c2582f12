public import DiffModels
public import DiffSampling
public import DiffTensor

/// The networks of one run of a MAR, with what they were last told. Used by one thread.
///
/// What the head is told at its steps depends on no token that it makes, so it is computed for many steps at once: three fifths of the head's weights
/// are then read once for all of them.
public final class MARNetworks: TokenDiffusionNetworks {
    private let network: MAR
    private let labels: [Int]
    private let mostWanted: Int
    private let times: [Int]
    private var embeddedTimes: Tensor?
    /// What the decoder said of the wanted tokens, conditional rows first: [rows, headWidth]
    private var conditions: Tensor?
    private var modulations: MARModulations?
    /// First step that ``modulations`` is about, and how many rows each has.
    private var first = 0, rows = 0

    /// Rows of the head's modulations that are made at once: enough to read weights once for many, few enough to stay in a cache.
    private static let rowsAtOnce = 384

    /// The networks for samples of these `labels`, whose tokens are made at the head's `times`, the noisiest first, at most `mostWanted` of a sample
    /// at once.
    public init(_ network: MAR, labels: [Int], times: [Int], mostWanted: Int) {
        (self.network, self.labels, self.times, self.mostWanted) = (network, labels, times, mostWanted)
    }

    /// Runs encoder and decoder.
    public func read(
        _ tokens: Tensor, known: [[Int]], wanted: [[Int]], guided: Bool, _ run: Run
    ) throws(DiffError) {
        (conditions, modulations) = (nil, nil)
        let c = network.configuration
        let pass = try MARPass(known: known, wanted: wanted, mostWanted: mostWanted, tokens: c.tokens)
        let rows = guided ? labels + labels.each.map { _ in c.nullClass } : labels
        let z = try network(tokens, pass, labels: rows, run)
        try run.requireFinite(z, "what the decoder says of the next tokens (weights or inputs)")
        conditions = try run.workspace.stretched(wanted.first?.count ?? 1, to: mostWanted) { () throws(DiffError) in
            try network.head.conditions(z, run)
        }
    }

    /// Makes the modulations of the next steps.
    public func prepare(from step: Int, _ run: Run) throws(DiffError) -> Int {
        modulations = nil
        guard let conditions else { throw DiffError(.internal, "the head was told nothing") }
        rows = conditions.shape[0]
        let room = max(Self.rowsAtOnce, 2 &* labels.count &* mostWanted)
        let steps = max(1, min(times.count &- step, room / max(1, rows)))
        let embedded = try embeddings(run).rows(step, steps)
        modulations = try run.workspace.stretched(steps &* rows, to: room) { () throws(DiffError) in
            try network.head.modulations(embedded, conditions, run)
        }
        first = step
        return steps
    }

    private func embeddings(_ run: Run) throws(DiffError) -> Tensor {
        if let embeddedTimes { return embeddedTimes }
        let t = try run.tensor(times.each.map { Float($0) }, Shape(times.count))
        let made = try network.head.times(t, run)
        embeddedTimes = made
        return made
    }

    /// The head at a step that was prepared.
    public func predict(_ x: Tensor, step: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let modulations else { throw DiffError(.internal, "step \(step) of the head was not prepared") }
        return try network.head(x, modulations, from: (step &- first) &* rows, rows: rows, run)
    }
}

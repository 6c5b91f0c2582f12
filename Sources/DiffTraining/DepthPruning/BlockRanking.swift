import DiffAcceleration
public import DiffCheckpoint
public import DiffModels
public import DiffSampling
public import DiffTensor

/// Decides by a rule which blocks of a denoiser to keep, one calibration batch a step.
public final class BlockRanking: LearningProcedure {
    /// The name in settings and states.
    public static let method = "rank"

    /// The rule.
    public let settings: RankingSettings
    /// Batches measured.
    public private(set) var done = 0
    /// Sums over batches, by block: cosine of output and input; squared change; loss without the block.
    private var similarity, change, sensitivity: [Double]
    private var baseline = 0.0

    private let network: any TrainableDenoiser
    private let loss: DiffusionLoss
    private let batches: BatchSource?
    private let resources: LearningResources
    private var workspacePeak = 0

    /// A ranking of the blocks of `network`. Throws `invalidArgument` when a rule that measures has no data or more blocks are to be kept
    /// than there are, `shape`, memory errors.
    public init(
        _ network: any TrainableDenoiser, _ process: DiffusionProcess, data: LatentSet?, _ settings: RankingSettings,
        _ resources: LearningResources
    ) throws(DiffError) {
        let depth = network.layout.blockCount
        guard (1...max(1, depth)).contains(settings.keepCount),
            settings.keep.allSatisfy({ $0 >= 0 && $0 < depth })
        else {
            throw DiffError(.invalidArgument, "\(settings.keepCount) blocks cannot be kept of \(depth)")
        }
        (self.network, self.settings, self.resources) = (network, settings, resources)
        loss = try DiffusionLoss(process)
        let zeros = Array(repeating: 0.0, count: max(0, depth))
        (similarity, change, sensitivity) = (zeros, zeros, zeros)
        guard !settings.measures || data != nil else {
            throw DiffError(
                .invalidArgument, "the rule \"\(settings.rule.rawValue)\" measures blocks on data: none was given")
        }
        if let data {
            try data.check(Shape(network.channels, network.side, network.side))
            batches = try BatchSource(data, size: settings.batch, seed: settings.seed, budget: resources.budget)
        } else {
            batches = nil
        }
    }

    /// Batches of the whole measure.
    public var steps: Int { settings.steps }
    /// Bytes of the workspace at its peak.
    public var workspaceBytes: Int { workspacePeak }
    /// Bytes of stored data.
    public var heldBytes: Int { batches?.heldBytes ?? 0 }

    /// Measures one batch.
    public func step() throws(DiffError) -> LearningReport {
        var measured = 0.0
        if settings.measures, let batches { measured = try measure(batches) }
        done &+= 1
        return LearningReport(
            step: done, steps: steps, loss: measured, gradientNorm: 0, learningRate: 0,
            terms: [.init(name: "kept", value: Double(decision.count))])
    }

    private func measure(_ batches: BatchSource) throws(DiffError) -> Double {
        let setUp = try resources.run(AccelerationStack(), network.layout, rows: settings.batch)
        defer { workspacePeak = max(workspacePeak, setUp.workspace.peakBytes) }
        var draws = StepDraws(seed: settings.seed, step: done)
        let (x0, labels) = try batches.batch(done, setUp)
        let limit = settings.calibration == .official ? min(250, loss.schedule.count) : loss.schedule.count
        let t = draws.indices(settings.batch, below: limit)
        let noise = try draws.normal(x0.shape, setUp)
        let x = settings.calibration == .official ? x0 : try loss.noised(x0, noise, t, setUp)
        if resources.isVirtual, settings.rule != .sensitivity {
            // What `BlockScores` does, beside what is held here.
            let run = try resources.run(AccelerationStack([BlockProbe()]), network.layout, rows: settings.batch)
            _ = try network(x, t: run.tensor(t.map(Float.init), Shape(t.count)), y: labels, run)
            workspacePeak = Checked.sum(setUp.workspace.peakBytes, run.workspace.peakBytes)
            return 0
        }
        guard settings.rule == .sensitivity else {
            let scores = try BlockScores(
                network, batches: [(x: x, t: t, labels: labels)], pool: resources.pool, budget: resources.budget,
                cancel: resources.cancel)
            try Self.requireFinite(scores.similarity + scores.change)
            similarity = Self.sums(similarity, scores.similarity)
            change = Self.sums(change, scores.change)
            return 0
        }
        let (all, held) = (Array(Indices(below: network.layout.blockCount)), setUp.workspace.peakBytes)
        var losses: [Double] = []
        for removed in all.each {
            losses.append(
                try cost(x0, x, noise, t, labels, keep: all.filter { $0 != removed }, beside: held))
        }
        let whole = try cost(x0, x, noise, t, labels, keep: all, beside: held)
        try Self.requireFinite(losses + [whole])
        sensitivity = Self.sums(sensitivity, losses)
        baseline += whole
        return whole
    }

    /// NaN ranks no blocks.
    private static func requireFinite(_ scores: [Double]) throws(DiffError) {
        guard scores.allSatisfy(\.isFinite) else {
            throw DiffError(.notFinite, "what was measured of the blocks is not finite (weights or data)")
        }
    }

    private static func sums(_ a: [Double], _ b: [Double]) -> [Double] { zip(a.each, b.each).map { $0 + $1 } }

    /// The mean training loss with only these blocks, in a workspace beside `held` bytes of others.
    private func cost(
        _ x0: Tensor, _ x: Tensor, _ noise: Tensor, _ t: [Int], _ labels: [Int], keep: [Int], beside held: Int
    ) throws(DiffError) -> Double {
        let run = try resources.run(
            AccelerationStack([try DepthPruning(keep: keep)]), network.layout, rows: settings.batch)
        defer { workspacePeak = max(workspacePeak, Checked.sum(held, run.workspace.peakBytes)) }
        let output = try network(x, t: run.tensor(t.map(Float.init), Shape(t.count)), y: labels, run)
        return try loss.evaluate(
            output, x0: x0, xt: x, noise: noise, t: t, addingTo: run.zeros(output.shape)
        ).mean
    }

    /// The blocks to keep by what was measured so far.
    public var decision: [Int] {
        let depth = network.layout.blockCount
        let removing = depth &- settings.keepCount
        switch settings.rule {
        case .index: return Indices(below: depth).filter { settings.keep.each.contains($0) }
        case .pairs: return BlockScores.keptByPairs(depth: depth)
        case .similarity: return BlockScores.kept(removing: removing, bySimilarity: similarity)
        case .change: return BlockScores.kept(removing: removing, of: change, depth: depth)
        case .sensitivity: return BlockScores.kept(removing: removing, of: sensitivity, depth: depth)
        case .random:
            var draws = StepDraws(seed: settings.seed, step: 0)
            return BlockScores.kept(removing: removing, of: draws.uniform(depth).map(Double.init), depth: depth)
        }
    }

    /// What was measured: sums divided by batches.
    public var summary: [String: JSON] {
        var members: [String: JSON] = [
            "rule": .string(settings.rule.rawValue), "keep": .array(decision.map { .integer($0) }),
        ]
        let share = 1 / Double(max(1, done))
        func list(_ sums: [Double]) -> JSON { .array(sums.map { .number($0 * share) }) }
        switch settings.rule {
        case .similarity: members.put(list(similarity), for: "similarity")
        case .change: members.put(list(change), for: "change")
        case .sensitivity:
            members.put(list(sensitivity), for: "loss_without")
            members.put(.number(baseline * share), for: "loss")
        case .index, .pairs, .random: break
        }
        return members
    }

    /// `loss`: of the network with the decided blocks only; `loss_all_blocks`: with all of them.
    public func evaluate(_ count: Int) throws(DiffError) -> [String: JSON] {
        guard let batches else { throw DiffError(.unsupported, "an evaluation needs data") }
        let evaluation = Evaluation(
            network: network, loss: loss, batches: batches, seed: settings.seed, resources: resources)
        let decided = try evaluation.mean(count, AccelerationStack([try DepthPruning(keep: decision)]))
        return ["loss": .number(decided), "loss_all_blocks": .number(try evaluation.mean(count))]
    }

    /// Everything the next batches depend on. A sum is kept as three f32 numbers that add up to it exactly.
    public func save() throws(DiffError) -> LearningState {
        var state = LearningState(method: Self.method, step: done, settings: settings.fingerprint)
        let sums = similarity + change + sensitivity + [baseline]
        var (rest, parts) = (sums, [[Float]]())
        for _ in 0..<3 {
            let part = rest.map { Float($0) }
            rest = zip(rest.each, part.each).map { $0 - Double($1) }
            parts.append(part)
        }
        try state.put(parts, as: "sums")
        return state
    }

    /// Resumes from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try state.check(Self.method, settings.fingerprint, steps: steps)
        let depth = similarity.count
        let parts = try state.rows("sums", Array(repeating: 3 &* depth &+ 1, count: 3))
        // The smallest parts first: nothing is rounded away.
        func sum(_ index: Int) -> Double {
            [2, 1, 0].each.reduce(0.0) { $0 + Double(parts.at($1)?.at(index) ?? 0) }
        }
        func sums(from start: Int) -> [Double] { Indices(below: depth).map { sum(start &+ $0) } }
        (similarity, change, sensitivity) = (sums(from: 0), sums(from: depth), sums(from: 2 &* depth))
        (baseline, done) = (sum(3 &* depth), state.step)
    }
}

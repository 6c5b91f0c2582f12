public import DiffTensor

/// Self-attention over a grid of times and frequencies in which a query sees its own frequency at all times, and a few random tokens that
/// all queries share, in one softmax: an attention per frequency instead of one over all. With a window it sees all frequencies near it
/// in time besides.
///
/// Frequencies are the columns of the grid, of whatever size it is when the network runs.
/// Source: LiteFocus (Tan, Li, Feng, Ma and Wang 2024, arXiv 2407.10468), whose published code this equals for the same random tokens.
public final class LiteFocus: Acceleration {
    private let plan: LiteFocusPlan
    private let given: KeyDraw?
    private var draw = KeyDraw(seed: 0)
    /// Where sets are drawn that are no attention's own.
    private var common: Site?
    /// Steps that are early.
    private var early = 0

    /// The method with these settings. With `draw` the random tokens come from there.
    public init(_ plan: LiteFocusPlan, draw: KeyDraw? = nil) { (self.plan, given) = (plan, draw) }

    /// Finds the attentions that become sparse. Throws `incompatible` when the network has none.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard let layout = context.layouts.first else { return HookSet() }
        draw = given ?? KeyDraw(seed: plan.seed ?? context.seed)
        common = nil
        early = Self.count(plan.earlySteps, of: context.steps)
        var hooks = HookSet()
        // Nothing changes after the beginning: a draw depends on its place alone.
        hooks.separatesLanes = true
        for site in try SparseSites(layout, plan).sites.each {
            let site = context.site(site, of: 0)
            common = common ?? site
            hooks.attention.insert(site)
        }
        return hooks
    }

    /// Puts the tokens of a self-attention in groups of one frequency, with what all see besides. Throws `incompatible` for tokens that are
    /// no grid, and when a query would see nothing.
    public func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError) {
        // Who sees whom may have been decided already.
        guard call.isSelfAttention, case .dense = call.pattern else { return }
        let (tokens, frequencies) = (call.keys.rows, call.gridWidth)
        guard frequencies > 0, call.prefix == 0, tokens % frequencies == 0, tokens == call.queries.rows else {
            throw DiffError(
                .incompatible,
                "LiteFocus: \(tokens) tokens after \(call.prefix) others are no grid of \(frequencies) frequencies: leave the level out "
                    + "of `levels`")
        }
        let ratio = run.call.step < early ? plan.earlyRatio ?? plan.ratio : plan.ratio
        let count = plan.crossFrequency ? Self.count(ratio, of: tokens) : 0
        guard plan.sameFrequency || count > 0 || plan.window > 0 else {
            throw DiffError(
                .incompatible,
                "LiteFocus: a ratio of \(ratio) is less than one of \(tokens) tokens, and same_frequency is off: queries see "
                    + "nothing; give a ratio of \(1 / Double(max(1, tokens))) or more, or turn same_frequency on")
        }
        guard !isDense(count, tokens, frequencies) else { return }
        let shared = count == 0 ? [] : try draw.draw(count, of: tokens, at: place(call.site, run), run)
        call.pattern = .groups(
            AttentionGroups(
                count: frequencies, seesOwnKeys: plan.sameFrequency, shared: shared, countsOnce: plan.deduplicates,
                window: plan.window))
    }

    /// Whether every query sees every token once: then the attention stays as it is.
    private func isDense(_ count: Int, _ tokens: Int, _ frequencies: Int) -> Bool {
        let drawsAll = count == tokens
        // What is seen by frequency or by time is seen once.
        let seesAll =
            plan.sameFrequency && frequencies == 1
            || plan.window > 0 && plan.window >= tokens / max(1, frequencies) &- 1
        if plan.deduplicates { return drawsAll || seesAll }
        return seesAll && count == 0 || drawsAll && !plan.sameFrequency && plan.window == 0
    }

    /// `ratio` of `tokens` as the published code has it: a product in double precision, its fraction cut off.
    static func count(_ ratio: Double, of tokens: Int) -> Int {
        min(tokens, Checked.integer((Double(tokens) * ratio).rounded(.towardZero)) ?? 0)
    }

    private func place(_ site: Site, _ run: Run) -> KeyDraw.Place {
        switch plan.keys {
        case .call: KeyDraw.Place(call: run.call.index, site: site)
        case .step: KeyDraw.Place(call: run.call.step, site: common ?? site)
        case .run: KeyDraw.Place(call: 0, site: common ?? site)
        }
    }
}

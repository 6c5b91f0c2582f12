public import DiffTensor

/// Collaborative decoding at work: the first scales by the session's first network, the others by the second.
///
/// What passes from one to the other is the image so far, nothing else; the second network reads the earlier scales from it
/// in one pass. Source: CoDe (Chen et al. 2024, arXiv 2411.17787).
public final class CollaborativeDecoding: Acceleration {
    private let draftScales: Int

    /// A hand-over after `draftScales` scales.
    public init(draftScales: Int) { self.draftScales = draftScales }

    /// Throws `incompatible` when the run has no second network, or no scale is left for one of the two.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard context.layouts.count == 2 else {
            throw DiffError(.incompatible, "collaborative decoding needs two networks, found \(context.layouts.count)")
        }
        try CollaborativePlan.check(draftScales, of: context.steps)
        var hooks = HookSet()
        hooks.networks = true
        return hooks
    }

    /// The drafter's scales come first.
    public func network(_ call: Call) -> Int { call.index < draftScales ? 0 : 1 }
}

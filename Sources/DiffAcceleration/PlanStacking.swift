public import DiffTensor

/// Whether two methods work in one plan, in either order.
public struct StackingRule: Sendable, Equatable {
    /// What comes of the two.
    public enum Verdict: Sendable, Equatable {
        /// They work together; each of them with neutral settings is as if it were not there.
        case allowed
        /// They do not, and this is why. The plan is `incompatible`.
        case forbidden(String)
    }

    /// Names of the two methods; twice the same for two entries of one.
    public let first: String, second: String
    /// What comes of them.
    public let verdict: Verdict

    init(_ first: any PlanEntry.Type, _ second: any PlanEntry.Type, _ verdict: Verdict) {
        (self.first, self.second, self.verdict) = (first.method, second.method, verdict)
    }

    /// Whether the rule is about these methods.
    func concerns(_ a: String, _ b: String) -> Bool { (first, second) == (a, b) || (first, second) == (b, a) }
}

extension Plan {
    /// Every pair of the library's methods, and every method with itself. Methods from outside are in no pair: they stack with all.
    public static let stacking: [StackingRule] = [
        StackingRule(
            AsyncPlan.self, AsyncPlan.self, .forbidden("one rule says into which components the network is divided")),
        StackingRule(
            AsyncPlan.self, CollaborativePlan.self,
            .forbidden("one is for networks that generate scale by scale, the other for those that denoise")),
        StackingRule(
            AsyncPlan.self, DeepCachePlan.self,
            .forbidden(
                "the part that one keeps for several calls lies across the components that the other exchanges in each")
        ),
        StackingRule(
            AsyncPlan.self, DepthPlan.self,
            .forbidden(
                "components are cut and balanced for all blocks of a network; prune it as a checkpoint, and divide that"
            )),
        StackingRule(
            AsyncPlan.self, KVCachePlan.self, .forbidden("one is for networks of pictures, the other of text")),
        StackingRule(
            AsyncPlan.self, LayerCachePlan.self,
            .forbidden(
                "an evaluation computes one component only, so that a sub-layer would be kept in one and asked for in another"
            )),
        StackingRule(
            CollaborativePlan.self, CollaborativePlan.self, .forbidden("one refiner takes over from the drafter, once")),
        StackingRule(
            CollaborativePlan.self, DepthPlan.self,
            .forbidden(
                "kept blocks are those of one network, and two of different depths take turns; prune them as checkpoints"
            )),
        StackingRule(
            CollaborativePlan.self, KVCachePlan.self, .forbidden("one is for networks of pictures, the other of text")),
        StackingRule(
            CollaborativePlan.self, LayerCachePlan.self,
            .forbidden("every scale has a size of its own, so that no output of an earlier one can be used again")),
        StackingRule(
            CollaborativePlan.self, DeepCachePlan.self,
            .forbidden("one is for networks that generate scale by scale, the other for those with skip connections")),
        StackingRule(
            DeepCachePlan.self, DeepCachePlan.self, .forbidden("one rule says when the deep part is computed")),
        StackingRule(DeepCachePlan.self, DepthPlan.self, .allowed),
        StackingRule(
            DeepCachePlan.self, KVCachePlan.self, .forbidden("one is for networks of pictures, the other of text")),
        StackingRule(DeepCachePlan.self, LayerCachePlan.self, .allowed),
        StackingRule(DepthPlan.self, DepthPlan.self, .forbidden("one list says which blocks are kept")),
        StackingRule(DepthPlan.self, KVCachePlan.self, .allowed),
        StackingRule(DepthPlan.self, LayerCachePlan.self, .allowed),
        StackingRule(KVCachePlan.self, KVCachePlan.self, .forbidden("one rule says which positions a pass computes")),
        StackingRule(
            KVCachePlan.self, LayerCachePlan.self,
            .forbidden("a sub-layer that is left out would leave keys and values unwritten")),
        StackingRule(
            LayerCachePlan.self, LayerCachePlan.self, .forbidden("one rule says which sub-layers a step computes")),
        StackingRule(
            LiteFocusPlan.self, AsyncPlan.self,
            .forbidden("components are cut and balanced for dense attention; one of the two at a time")),
        StackingRule(
            LiteFocusPlan.self, CollaborativePlan.self,
            .forbidden("one is for networks of sounds, the other for those that generate scale by scale")),
        StackingRule(LiteFocusPlan.self, DeepCachePlan.self, .allowed),
        StackingRule(LiteFocusPlan.self, DepthPlan.self, .allowed),
        StackingRule(
            LiteFocusPlan.self, KVCachePlan.self, .forbidden("one is for networks of sounds, the other of text")),
        StackingRule(LiteFocusPlan.self, LayerCachePlan.self, .allowed),
        StackingRule(
            LiteFocusPlan.self, LiteFocusPlan.self, .forbidden("one rule says which tokens a query sees")),
    ]

    /// Throws `incompatible` when two of the methods do not stack, saying why.
    public func checkStacking() throws(DiffError) {
        for (index, entry) in entries.numbered {
            for earlier in Indices(below: index) {
                guard let other = entries.at(earlier) else { continue }
                let (a, b) = (type(of: other).method, type(of: entry).method)
                guard let rule = Self.stacking.each.first(where: { $0.concerns(a, b) }),
                    case .forbidden(let reason) = rule.verdict
                else { continue }
                throw DiffError(
                    .incompatible,
                    a == b
                        ? "the plan names the method \"\(a)\" twice: \(reason)"
                        : "the methods \"\(a)\" and \"\(b)\" do not stack: \(reason)")
            }
        }
    }
}

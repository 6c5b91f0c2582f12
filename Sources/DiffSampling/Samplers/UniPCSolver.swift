import DiffTensor
import Glibc

/// The numbers of UniPC: what states and predictions are multiplied by. Source: `multistep_uni_p_bh_update` and
/// `multistep_uni_c_bh_update` of diffusers.
struct UniPCSolver: Sendable {
    /// Weights of a step: of the state at its beginning, of the predictions there and before, newest first, and of the prediction at its
    /// end.
    struct Weights {
        var state = 1.0
        var outputs = (0.0, 0.0, 0.0)
        var fresh = 0.0
    }

    /// The highest order, 1...3.
    let order: Int
    /// Whether predictions are of x0 rather than of ε.
    let predictsClean: Bool
    private let grid: SigmaGrid
    private let usesFirstVariant: Bool
    private let lowersOrder: Bool

    /// Throws `unsupported` where the reference gives no number.
    init(_ c: SchedulerConfiguration, _ grid: SigmaGrid) throws(DiffError) {
        (self.grid, order) = (grid, c.solverOrder ?? 2)
        (predictsClean, usesFirstVariant) = (c.predictsClean ?? true, c.solverType == .bh1)
        lowersOrder = c.lowersFinalOrder ?? true
        guard (1...3).contains(order) else {
            throw DiffError(.unsupported, "solver_order must be 1, 2 or 3, found \(order)")
        }
        guard c.endsAtSigmaMin == true || (predictsClean && !usesFirstVariant && (lowersOrder || order == 1)) else {
            throw DiffError(
                .unsupported,
                "solver_type bh1, predict_x0 false and lower_order_final false divide by zero in the last step to σ = 0; set "
                    + "final_sigmas_type to sigma_min")
        }
    }

    /// The level before step `step`.
    func level(_ step: Int) -> SolverLevel { SolverLevel(sigma: grid.sigmas.at(step) ?? 0) }

    /// The order of the predictor in `step` when `known` predictions are there: it rises at the beginning and, with
    /// `lower_order_final`, falls at the end, to 1 in the last step, where h may be infinite.
    func stepOrder(_ step: Int, known: Int) -> Int {
        let most = lowersOrder ? min(order, grid.steps &- step) : order
        return max(1, min(most, known))
    }

    /// The step from `step` on by what is known before it.
    func predictor(_ step: Int, order: Int) -> Weights { weights(step, order, corrects: false) }

    /// The same step by the prediction at its end too.
    func corrector(_ step: Int, order: Int) -> Weights { weights(step, order, corrects: true) }

    private func weights(_ step: Int, _ order: Int, corrects: Bool) -> Weights {
        let (now, next) = (level(step), level(step &+ 1))
        let h = next.lambda - now.lambda
        // Karras' grid with its own last level at the end: the last step goes nowhere.
        guard h != 0 else { return Weights() }
        let signed = predictsClean ? -h : h
        let phi = expm1(signed)
        // B(h) of the paper: h (bh1) or eʰ - 1 (bh2), in whose units the moments are.
        let base = usesFirstVariant ? signed : phi
        let factor = -(predictsClean ? next.alpha : next.deviation)
        var weights = Weights()
        weights.state = predictsClean ? next.deviation / now.deviation : next.alpha / now.alpha
        weights.outputs.0 = factor * phi
        let nodes = (
            order > 1 ? (level(step &- 1).lambda - now.lambda) / h : 1,
            order > 2 ? (level(step &- 2).lambda - now.lambda) / h : 1
        )
        let rho = Self.rho(order, nodes, Self.moments(signed, phi, base), corrects: corrects)
        let differences = (order > 1 ? rho.0 / nodes.0 : 0, order > 2 ? rho.1 / nodes.1 : 0)
        weights.outputs.1 = factor * base * differences.0
        weights.outputs.2 = factor * base * differences.1
        weights.fresh = corrects ? factor * base * rho.2 : 0
        weights.outputs.0 -= weights.outputs.1 + weights.outputs.2 + weights.fresh
        return weights
    }

    /// b_1, b_2, b_3: integrals of the exponential times powers, in units of `base`. At h = ∞ the quotients by h are 0, which leaves them
    /// finite. b_k is k! φ_k with φ_k = φ_{k-1} / h - 1 / k!, where φ_0 = eʰ - 1.
    private static func moments(_ h: Double, _ phi: Double, _ base: Double) -> (Double, Double, Double) {
        let first = phi / h - 1
        let second = first / h - 1 / 2
        let third = second / h - 1 / 6
        return (first / base, second * 2 / base, third * 6 / base)
    }

    /// Weights of the differences at the nodes r_1, r_2 before the step and at its end, r = 1: those with which polynomials of the order's
    /// degree are integrated exactly. The second-order predictor and first-order corrector take ½ instead, as in
    /// the reference.
    private static func rho(
        _ order: Int, _ r: (Double, Double), _ b: (Double, Double, Double), corrects: Bool
    ) -> (Double, Double, Double) {
        switch (order, corrects) {
        case (1, false): return (0, 0, 0)
        case (1, true): return (0, 0, 0.5)
        case (2, false): return (0.5, 0, 0)
        case (2, true):
            let first = (b.1 - b.0) / (r.0 - 1)
            return (first, 0, b.0 - first)
        case (_, false):
            let second = (b.1 - b.0 * r.0) / (r.1 - r.0)
            return (b.0 - second, second, 0)
        default:
            // Vandermonde's matrix with the nodes r_1, r_2, 1.
            let (x, y) = r
            func lagrange(_ own: Double, _ a: Double, _ c: Double) -> Double {
                (b.2 - (a + c) * b.1 + a * c * b.0) / ((own - a) * (own - c))
            }
            return (lagrange(x, y, 1), lagrange(y, x, 1), lagrange(1, x, y))
        }
    }
}

import Glibc

/// A number that changes with the step of a training run.
public enum Schedule: Sendable, Equatable {
    case constant(Double)
    /// From the first value at step 0 to the second at the last step, in equal parts (TinyFusion's temperature and scaling).
    case linear(Double, Double)
    /// Half a cosine from the first value at step 0 towards the second, reached after the last step (torch's `CosineAnnealingLR`).
    case cosine(Double, Double)

    /// The value at `step`, 0 ..< `steps`.
    public func value(_ step: Int, of steps: Int) -> Double {
        switch self {
        case .constant(let value): return value
        case .linear(let first, let last):
            return first + (last - first) * Double(step) / Double(max(1, steps &- 1))
        case .cosine(let first, let last):
            return last + 0.5 * (first - last) * (1 + cos(Double.pi * Double(step) / Double(max(1, steps))))
        }
    }

    /// The value at `step` after `warmup` steps in which it rises from 0 in equal parts.
    func value(_ step: Int, of steps: Int, warmup: Int) -> Double {
        let value = value(step, of: steps)
        return step < warmup ? value * Double(step &+ 1) / Double(warmup) : value
    }
}

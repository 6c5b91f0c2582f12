import DiffAcceleration
import DiffTensor

/// A full step and the cached ones that follow it down to the next full one, by respaced index (0 the cleanest).
struct CachedGroup: Sendable, Equatable {
    /// Index of the full step.
    let full: Int
    /// Indices of the cached steps, in the order in which they are executed: full - 1, full - 2, …
    let cached: [Int]

    /// The groups of a run of `steps` steps with one full step in `period`, noisiest first; full steps that nothing follows are left out.
    ///
    /// The rule is that of inference (`CachePolicy.keeps`): the first executed step is full whatever its index.
    static func all(steps: Int, period: Int) -> [CachedGroup] {
        var groups: [CachedGroup] = []
        var (full, cached): (Int, [Int]) = (steps &- 1, [])
        for executed in Indices(below: steps &- 1) {
            let index = steps &- 2 &- executed
            if period > 0, index % period == period &- 1 {
                groups.append(CachedGroup(full: full, cached: cached))
                (full, cached) = (index, [])
            } else {
                cached.append(index)
            }
        }
        groups.append(CachedGroup(full: full, cached: cached))
        return groups.each.filter { !$0.cached.isEmpty }
    }
}

import TestSupport
import Testing

@testable import DiffAcceleration

/// Consecutive modules in components of about equal cost.
@Suite struct BalancedSplitTests {
    /// The least possible cost of the dearest component, by trying every cut.
    private func least(_ costs: ArraySlice<Double>, _ count: Int) -> Double {
        guard count > 1 else { return costs.reduce(0, +) }
        var best = Double.infinity
        for cut in costs.indices.dropFirst() where costs.endIndex - cut >= count - 1 {
            best = min(best, max(costs[..<cut].reduce(0, +), least(costs[cut...], count - 1)))
        }
        return best
    }

    @Test func noCutIsBetter() {
        var numbers = Numbers(3)
        for modules in 2...12 {
            for count in 2...min(4, modules) {
                for zeros in [false, true] {
                    var costs = numbers.floats(modules, scale: 1).map { Double(abs($0) * 100).rounded() }
                    if zeros { costs[0] = 0 }
                    let components = AsyncDivision.balanced(costs, count)
                    #expect(components == components.sorted() && Set(components) == Set(0..<count))
                    let sums = (0..<count).map { part in
                        zip(costs, components).reduce(0) { $1.1 == part ? $0 + $1.0 : $0 }
                    }
                    #expect(sums.max() == least(costs[...], count), "\(costs) \(components)")
                }
            }
        }
    }
}

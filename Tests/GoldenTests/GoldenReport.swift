import DiffTensor
import TestSupport

/// How far a result may be from the recorded one, as the fixture's NOTES.md says.
enum GoldenTolerance {
    /// Largest difference.
    case absolute(Double)
    /// Largest difference in parts of the largest recorded value.
    case relative(Double)
    /// Every bit.
    case exact

    func allowed(_ difference: Difference) -> Double {
        switch self {
        case .absolute(let bound): bound
        case .relative(let bound): bound * difference.magnitude
        case .exact: 0
        }
    }
}

/// What was found out about one fixture: keys compared, keys left out with the reason, failures.
struct GoldenReport {
    let fixture: GoldenFixture
    private(set) var checked: Set<String> = []
    private(set) var failures: [String] = []
    /// Every comparison, for who wants to see it.
    private(set) var details: [String] = []
    /// Keys left out, by the reason.
    private(set) var unchecked: [String: [String]] = [:]
    /// Inputs that a check has used: read, not compared.
    private var inputs: Set<String> = []
    private var worst: (share: Double, error: Double, key: String) = (0, 0, "-")

    init(_ fixture: GoldenFixture) { self.fixture = fixture }

    /// Compares a result with the key. A key that is not in the file counts as a failure.
    mutating func compare<T: BinaryFloatingPoint>(
        _ key: String, _ actual: [T], _ tolerance: GoldenTolerance, shape: Shape? = nil
    ) throws(DiffError) {
        guard fixture.has(key) else { return missing(key) }
        checked.insert(key)
        let expectedShape = try fixture.shape(key)
        if let shape, shape != expectedShape, shape.count != expectedShape.count {
            return fail(key, "shape \(shape), recorded \(expectedShape)")
        }
        note(key, Difference(actual, try fixture.doubles(key)), tolerance)
    }

    /// The same for a tensor.
    mutating func compare(_ key: String, _ actual: Tensor, _ tolerance: GoldenTolerance) throws(DiffError) {
        try compare(key, actual.array, tolerance, shape: actual.shape)
    }

    /// Compares whole numbers, which must be equal.
    mutating func compare(_ key: String, integers actual: [Int]) throws(DiffError) {
        guard fixture.has(key) else { return missing(key) }
        checked.insert(key)
        let expected = try fixture.integers(key)
        if actual != expected { fail(key, "found \(actual.prefix(12)), recorded \(expected.prefix(12))") }
    }

    /// Notes the outcome of a comparison that a check made by itself; `problem` is nil when it went well.
    mutating func confirm(_ key: String, _ problem: String?) {
        guard fixture.has(key) else { return missing(key) }
        checked.insert(key)
        if let problem { fail(key, problem) }
    }

    /// Notes the outcome of comparing what is not in the tensor file.
    mutating func verify(_ name: String, _ problem: String?) {
        checked.insert(name)
        if let problem { fail(name, problem) }
    }

    private mutating func note(_ key: String, _ difference: Difference, _ tolerance: GoldenTolerance) {
        let allowed = tolerance.allowed(difference)
        details.append("  \(key): \(format(difference.absolute)) of \(format(allowed))")
        let share = difference.absolute == 0 ? 0 : difference.absolute / max(allowed, .leastNormalMagnitude)
        if share > worst.share { worst = (share, difference.absolute, key) }
        if !(difference.absolute <= allowed) { fail(key, "\(difference), allowed \(allowed)") }
    }

    /// Notes that `keys` were read as inputs of a check.
    mutating func uses(_ keys: String...) { inputs.formUnion(keys) }

    /// Notes that `key`, which the family should have, is not in the file.
    mutating func missing(_ key: String) { fail(key, "not in the file") }

    mutating func fail(_ key: String, _ text: String) { failures.append("\(fixture.name): \(key): \(text)") }

    /// Notes that the keys with this prefix are not compared, and why.
    mutating func leaves(_ prefix: String, because reason: String) {
        let keys = fixture.keys(prefix)
        if !keys.isEmpty { unchecked[reason, default: []] += keys }
    }

    /// Notes every key that is neither compared nor used nor left out on purpose.
    mutating func close() {
        let known = checked.union(inputs).union(unchecked.values.flatMap { $0 })
        let rest = fixture.io.names.filter { !known.contains($0) }
        if !rest.isEmpty { unchecked["unknown to this check", default: []] += rest }
    }

    var line: String {
        // A result that is not finite, or has another shape, is infinitely far away.
        let percent = worst.share.isFinite ? "\(Int(min(worst.share * 100, 1e9).rounded(.up)))" : "inf"
        let verdict = failures.isEmpty ? "ok" : "\(failures.count) FAILED"
        return "\(fixture.name): \(checked.count) keys checked, worst error \(format(worst.error)) "
            + "(\(worst.key), \(percent) % of its tolerance), \(verdict)"
    }

    private func format(_ value: Double) -> String {
        guard value.isFinite, value != 0 else { return value == 0 ? "0" : "inf" }
        var (mantissa, exponent) = (value, 0)
        while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        while mantissa >= 10 && mantissa.isFinite { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
        return "\((mantissa * 10).rounded() / 10)e\(exponent)"
    }
}

/// Arithmetic on numbers that come from outside (files, options): every result that does not fit is nil, never a trap.
public enum Checked {
    /// a + b, or nil on overflow.
    public static func add(_ a: Int, _ b: Int) -> Int? {
        let (value, overflow) = a.addingReportingOverflow(b)
        return overflow ? nil : value
    }

    /// a - b, or nil on overflow.
    public static func subtract(_ a: Int, _ b: Int) -> Int? {
        let (value, overflow) = a.subtractingReportingOverflow(b)
        return overflow ? nil : value
    }

    /// a * b, or nil on overflow.
    public static func multiply(_ a: Int, _ b: Int) -> Int? {
        let (value, overflow) = a.multipliedReportingOverflow(by: b)
        return overflow ? nil : value
    }

    /// The sum of `values`, or the largest `Int` when it does not fit: for sizes that are compared with limits.
    public static func sum(_ values: Int...) -> Int {
        var total = 0
        for value in values.each { total = add(total, value) ?? .max }
        return total
    }

    /// a / b rounded down, or nil when b is not positive or a is negative.
    public static func divide(_ a: Int, _ b: Int) -> Int? {
        guard b > 0, a >= 0 else { return nil }
        return a / b
    }

    /// The number that these ASCII digits write, or nil (no digits, anything else among them, out of range).
    public static func decimal(_ digits: [UInt8]) -> Int? {
        guard !digits.isEmpty else { return nil }
        var number = 0
        for digit in digits.each {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9"), let tens = multiply(number, 10),
                let next = add(tens, Int(digit &- UInt8(ascii: "0")))
            else { return nil }
            number = next
        }
        return number
    }

    /// The whole number whose square is `value`, or nil when there is none below 2^26.
    public static func root(_ value: Int) -> Int? {
        var (low, high) = (0, 1 << 26)
        while low < high {
            let middle = (low &+ high) >> 1
            if middle &* middle < value { low = middle &+ 1 } else { high = middle }
        }
        return low &* low == value ? low : nil
    }

    /// Divisors that logits of any network stay in the range of f32 with.
    public static let divisors = 1e-30...1e30

    /// `value` in f32 when something can be divided by it: neither 0 nor so small or large that the result would be 0 or infinity.
    public static func divisor(_ value: Double) -> Float? { divisors.contains(value) ? Float(value) : nil }

    /// The integer that `value` is exactly, or nil (fractions, NaN, infinities, out of range).
    public static func integer(_ value: Double) -> Int? {
        guard value.isFinite, value.magnitude <= 9_007_199_254_740_992 else { return nil }
        return Int(exactly: value)
    }
}

/// Numbers as people read them.
enum Format {
    /// `value` with this many decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = (0..<decimals).reduce(1) { scale, _ in scale * 10 }
        let scaled = (value.magnitude * Double(scale)).rounded()
        guard scaled.isFinite, scaled < 9e18 else { return value.description }
        let number = Int(scaled)
        let sign = value < 0 && number > 0 ? "-" : ""
        guard decimals > 0 else { return sign + String(number) }
        let fraction = String(number % scale)
        return "\(sign)\(number / scale)." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// `value` with about `digits` significant digits: 0.0123, 1.235, 3.1e-6.
    static func significant(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, value != 0 else { return value == 0 ? "0" : value.description }
        var (scaled, exponent) = (value.magnitude, 0)
        while scaled >= 10 { (scaled, exponent) = (scaled / 10, exponent + 1) }
        while scaled < 1 { (scaled, exponent) = (scaled * 10, exponent - 1) }
        if exponent < -4 || exponent > 6 {
            return (value < 0 ? "-" : "") + fixed(scaled, digits - 1) + "e\(exponent)"
        }
        return fixed(value, max(0, digits - 1 - exponent))
    }

    /// A time in the unit that suits it.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "?" }
        if seconds < 100 { return "\(fixed(seconds, 0)) s" }
        let minutes = Int(seconds / 60)
        return minutes < 100 ? "\(minutes) min" : "\(minutes / 60) h \(minutes % 60) min"
    }

    /// Bytes in powers of 1024.
    static func bytes(_ count: Int) -> String {
        var value = Double(count)
        for unit in ["bytes", "KiB", "MiB", "GiB"] {
            if value < 1024 { return unit == "bytes" ? "\(count) bytes" : "\(fixed(value, 1)) \(unit)" }
            value /= 1024
        }
        return "\(fixed(value, 1)) TiB"
    }

    /// Floating-point operations in powers of 1000.
    static func flops(_ count: Double) -> String {
        var value = count
        for unit in ["", "k", "M", "G", "T"] {
            if value < 1000 { return "\(fixed(value, unit.isEmpty ? 0 : 2)) \(unit)FLOP" }
            value /= 1000
        }
        return "\(fixed(value, 2)) PFLOP"
    }

    /// A share as a percentage.
    static func percent(_ share: Double) -> String { fixed(100 * share, 1) + " %" }

    /// `part` of `whole` as a percentage.
    static func percent(_ part: Int, of whole: Int) -> String {
        whole == 0 ? "-" : percent(Double(part) / Double(whole))
    }

    /// A number with separators between thousands.
    static func grouped(_ number: Int) -> String {
        var out = ""
        for (index, digit) in String(number.magnitude).reversed().enumerated() {
            if index > 0, index % 3 == 0 { out.append(",") }
            out.append(digit)
        }
        return (number < 0 ? "-" : "") + String(out.reversed())
    }
}

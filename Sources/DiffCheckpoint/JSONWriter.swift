import DiffTensor

extension JSON {
    /// The value as JSON text.
    ///
    /// Members are sorted by name (by Unicode scalars), so equal values give equal texts. Numbers are the shortest
    /// that read back to the same bits, whatever the locale; NaN and infinities, which JSON lacks, become `null`.
    /// `pretty` puts members on lines of their own, indented by two spaces, and a newline at the end.
    public func serialized(pretty: Bool = false) -> String {
        var out = ""
        write(to: &out, indent: pretty ? 0 : nil)
        if pretty { out += "\n" }
        return out
    }

    private func write(to out: inout String, indent: Int?) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .integer(let value): out += String(value)
        case .number(let value): out += value.isFinite ? value.description : "null"
        case .string(let value): Self.write(value, to: &out)
        case .array(let elements):
            // Lists of scalars stay on one line: plans hold long rows of numbers.
            let inner = elements.contains { $0.isContainer } ? indent.map { $0 &+ 1 } : nil
            out += "["
            for (position, element) in elements.numbered {
                if position > 0 { out += inner == nil && indent != nil ? ", " : "," }
                Self.newline(inner, to: &out)
                element.write(to: &out, indent: inner)
            }
            if inner != nil { Self.newline(indent, to: &out) }
            out += "]"
        case .object(let members):
            let inner = members.isEmpty ? nil : indent.map { $0 &+ 1 }
            out += "{"
            for (position, member) in members.sorted(by: { Self.precedes($0.key, $1.key) }).numbered {
                if position > 0 { out += "," }
                Self.newline(inner, to: &out)
                Self.write(member.key, to: &out)
                out += indent == nil ? ":" : ": "
                member.value.write(to: &out, indent: inner)
            }
            if inner != nil { Self.newline(indent, to: &out) }
            out += "}"
        }
    }

    private var isContainer: Bool {
        switch self {
        case .array, .object: true
        default: false
        }
    }

    /// Order by scalars: Swift's own order of strings follows the Unicode tables of its version.
    public static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

    private static func newline(_ indent: Int?, to out: inout String) {
        guard let indent else { return }
        out += "\n"
        for _ in 0..<max(0, indent) { out += "  " }
    }

    private static func write(_ text: String, to out: inout String) {
        out += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7f {
                    let digits = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: max(0, 4 &- digits.utf8.count)) + digits
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        out += "\""
    }
}

import ArgumentParser

/// A number of bytes as written on the command line: 4096, 64K, 500M, 2G (powers of 1024).
struct ByteCount: ExpressibleByArgument {
    let bytes: Int

    /// No bytes, which options read as "no limit".
    static let none = ByteCount(bytes: 0)

    private init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let factor: Int
        switch argument.dropFirst(digits.count).lowercased() {
        case "", "b": factor = 1
        case "k", "kb", "kib": factor = 1 << 10
        case "m", "mb", "mib": factor = 1 << 20
        case "g", "gb", "gib": factor = 1 << 30
        case "t", "tb", "tib": factor = 1 << 40
        default: return nil
        }
        guard let number = Int(digits) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    var defaultValueDescription: String { bytes == 0 ? "none" : "\(bytes)" }
}

import DiffTensor

/// A text as scalars, with the byte at which each begins. Invalid UTF-8 is U+FFFD, one for each stretch that could still have
/// become a character, and stands for just those bytes.
struct SourceText {
    private(set) var scalars: [UInt32] = []
    private var starts: [UInt32] = []

    /// Reads `bytes`, fewer than 2^32.
    init(_ bytes: UnsafeRawBufferPointer) {
        scalars.reserveCapacity(bytes.count)
        starts.reserveCapacity(bytes.count &+ 1)
        var at = 0
        while at < bytes.count {
            let (scalar, count) = unsafe Self.scalar(bytes, at)
            scalars.append(scalar)
            starts.append(UInt32(truncatingIfNeeded: at))
            at &+= count
        }
        starts.append(UInt32(truncatingIfNeeded: at))
    }

    init(_ text: String) {
        let bytes = Array(text.utf8)
        self = unsafe bytes.withUnsafeBytes { unsafe SourceText($0) }
    }

    /// The bytes of a range of scalars.
    func bytes(_ range: Range<Int>) -> Range<Int> {
        let start = start(range.lowerBound)
        return start..<max(start, self.start(range.upperBound))
    }

    private func start(_ scalar: Int) -> Int { Int(starts.at(scalar) ?? starts.last ?? 0) }

    /// The scalar at a byte, and how many bytes it takes.
    private static func scalar(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> (UInt32, Int) {
        let lead = unsafe UInt32(bytes[at])
        if lead < 0x80 { return (lead, 1) }
        let count = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
        guard (0xc2...0xf4).contains(lead) else { return (0xfffd, 1) }
        // What may stand second: no overlong forms, no surrogates, nothing beyond U+10FFFF.
        var allowed: ClosedRange<UInt32> =
            switch lead {
            case 0xe0: 0xa0...0xbf
            case 0xed: 0x80...0x9f
            case 0xf0: 0x90...0xbf
            case 0xf4: 0x80...0x8f
            default: 0x80...0xbf
            }
        var value = lead & (0xff >> UInt32(truncatingIfNeeded: count &+ 1))
        for offset in 1..<count {
            guard at &+ offset < bytes.count else { return (0xfffd, offset) }
            let next = unsafe UInt32(bytes[at &+ offset])
            guard allowed.contains(next) else { return (0xfffd, offset) }
            (value, allowed) = (value << 6 | next & 0x3f, 0x80...0xbf)
        }
        return (value, count)
    }
}

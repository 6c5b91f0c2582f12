import DiffTensor

/// Pieces by their bytes, walked a byte at a time.
struct PieceTrie: Sendable {
    /// Node numbers by parent and byte.
    private var children: [UInt64: Int32] = [:]
    /// The piece that is whole at a node; -1: none.
    private var pieces: [Int32] = [-1]

    /// Where every walk begins.
    static let root: Int32 = 0

    /// Adds a piece; the last of equal ones counts.
    mutating func insert(_ bytes: [UInt8], _ piece: Int) {
        var node = Self.root
        for byte in bytes.each {
            if let next = child(of: node, byte) {
                node = next
                continue
            }
            let next = Int32(truncatingIfNeeded: pieces.count)
            children.put(next, for: Self.key(node, byte))
            pieces.append(-1)
            node = next
        }
        pieces.put(Int32(truncatingIfNeeded: piece), at: Int(node))
    }

    /// The node behind `byte`; nil when no piece goes on so.
    func child(of node: Int32, _ byte: UInt8) -> Int32? { children[Self.key(node, byte)] }

    /// The piece that ends at `node`.
    func piece(at node: Int32) -> Int? {
        guard let piece = pieces.at(Int(node)), piece >= 0 else { return nil }
        return Int(piece)
    }

    /// The piece of just the bytes in `range`; nil: all of them.
    func piece(_ bytes: [UInt8], _ range: Range<Int>? = nil) -> Int? {
        var (node, position) = (Self.root, range?.lowerBound ?? 0)
        let end = range?.upperBound ?? bytes.count
        while position < end {
            guard let byte = bytes.at(position), let next = child(of: node, byte) else { return nil }
            (node, position) = (next, position &+ 1)
        }
        return piece(at: node)
    }

    private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
        UInt64(UInt32(truncatingIfNeeded: node)) << 8 | UInt64(byte)
    }
}

/// A control message between ranks, as bytes: what it is, the run it belongs to, then its own fields, little-endian.
enum RankControl: Equatable {
    /// Bytes that a rank shows all others, the `sequence`-th of a run.
    case share(sequence: Int, [UInt8])
    /// The rank takes no further part in the run. `messages`: data messages it sent to the receiver. `failure`: why, if not because all is done.
    case end(messages: Int, failure: RankFailure?)
    /// The process takes no part in anything any more.
    case leave

    private static let (shareKind, endKind, leaveKind): (UInt8, UInt8, UInt8) = (1, 2, 3)

    /// The message as bytes.
    func bytes(run: Int) -> [UInt8] {
        var out = ByteWriter()
        switch self {
        case .share(let sequence, let content):
            out.byte(Self.shareKind)
            out.number(run)
            out.number(sequence)
            for byte in content.each { out.byte(byte) }
        case .end(let messages, let failure):
            out.byte(Self.endKind)
            out.number(run)
            out.number(messages)
            out.number(failure.map { Int($0.error.code.rawValue) } ?? 0)
            out.number(failure?.origin ?? 0)
            for byte in Array((failure?.error.message ?? "").utf8).each { out.byte(byte) }
        case .leave:
            out.byte(Self.leaveKind)
            out.number(run)
        }
        return out.bytes
    }

    /// What `bytes` say; nil when they are no such message.
    static func read(_ bytes: [UInt8]) -> (run: Int, message: RankControl)? {
        var input = ByteReader(bytes)
        guard let kind = input.byte(), let run = input.number() else { return nil }
        switch kind {
        case shareKind:
            guard let sequence = input.number() else { return nil }
            return (run, .share(sequence: sequence, input.rest()))
        case endKind:
            guard let messages = input.number(), let code = input.number(), let origin = input.number() else {
                return nil
            }
            let text = String(decoding: input.rest(), as: UTF8.self)
            guard code != 0 else { return (run, .end(messages: messages, failure: nil)) }
            guard let code = Int32(exactly: code).flatMap({ DiffError.Code(rawValue: $0) }) else { return nil }
            return (run, .end(messages: messages, failure: RankFailure(origin: origin, error: DiffError(code, text))))
        case leaveKind: return (run, .leave)
        default: return nil
        }
    }
}

/// Why a run ended early, and the rank at fault; the text names it.
struct RankFailure: Equatable {
    let origin: Int
    let error: DiffError
}

/// Fields put one after the other.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func byte(_ byte: UInt8) { bytes.append(byte) }

    mutating func number(_ number: Int) {
        let bits = UInt64(bitPattern: Int64(number))
        for index in Indices(below: 8) { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 &* index))) }
    }

    /// A text with its length.
    mutating func text(_ text: String) {
        let utf8 = Array(text.utf8)
        number(utf8.count)
        for byte in utf8.each { bytes.append(byte) }
    }
}

/// Fields read one after the other; nil beyond the end.
struct ByteReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func byte() -> UInt8? {
        guard let byte = bytes.at(position) else { return nil }
        position &+= 1
        return byte
    }

    mutating func number() -> Int? {
        var bits: UInt64 = 0
        for index in Indices(below: 8) {
            guard let byte = byte() else { return nil }
            bits |= UInt64(byte) << UInt64(8 &* index)
        }
        return Int(truncatingIfNeeded: bits)
    }

    /// A text of at most 64 KiB.
    mutating func text() -> String? {
        guard let count = number(), count >= 0, count <= 65536, count <= bytes.count &- position else { return nil }
        var utf8: [UInt8] = []
        for _ in Indices(below: count) {
            if let byte = byte() { utf8.append(byte) }
        }
        return String(decoding: utf8, as: UTF8.self)
    }

    mutating func rest() -> [UInt8] {
        var rest: [UInt8] = []
        while let byte = byte() { rest.append(byte) }
        return rest
    }
}

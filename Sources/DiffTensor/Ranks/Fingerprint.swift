/// 128 bits that tell contents apart: finds mistakes, and is no protection against forgery.
public struct Fingerprint: Sendable, Equatable {
    private var (a, b): (UInt64, UInt64) = (0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)

    /// That of nothing.
    public init() {}

    private mutating func mix(_ word: UInt64) {
        a = (a ^ word) &* 0x9e37_79b9_7f4a_7c15
        a ^= a >> 29
        b = (b << 23 | b >> 41) ^ word &* 0xd6e8_feb8_6659_fd93
        b = b &* 5 &+ a
    }

    /// Takes in a number.
    public mutating func add(_ number: Int) { mix(UInt64(bitPattern: Int64(number))) }

    /// Takes in bytes, with their number.
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        add(bytes.count)
        var position = 0
        while bytes.count &- position >= 8 {  // position <= count: nothing can wrap
            mix(UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
            position &+= 8
        }
        var last: UInt64 = 0
        while position < bytes.count {
            last = last << 8 | UInt64(unsafe bytes[position])
            position &+= 1
        }
        mix(last)
    }

    /// Takes in a text.
    public mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { unsafe add(UnsafeRawBufferPointer($0)) }
    }

    /// Takes in the elements and the shape of a tensor in memory.
    public mutating func add(_ tensor: Tensor) {
        add(tensor.shape.description)
        add(tensor.dtype.name)
        guard let raw = unsafe tensor.raw else { return }
        unsafe add(UnsafeRawBufferPointer(start: raw, count: tensor.byteCount))
        withExtendedLifetime(tensor.storage) {}
    }

    /// 32 hexadecimal digits.
    public var text: String {
        var last = self
        for _ in Indices(below: 4) { last.mix(0) }
        return Self.digits(last.a) + Self.digits(last.b)
    }

    private static func digits(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: max(0, 16 &- digits.utf8.count)) + digits
    }
}

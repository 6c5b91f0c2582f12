public import DiffTensor

/// Element types that a safetensors file can hold; a model's weights are those with a ``weight`` type.
public enum ElementType: String, Sendable, CaseIterable {
    case bool = "BOOL"
    case u8 = "U8"
    case i8 = "I8"
    case u16 = "U16"
    case i16 = "I16"
    case f16 = "F16"
    case bf16 = "BF16"
    case u32 = "U32"
    case i32 = "I32"
    case f32 = "F32"
    case u64 = "U64"
    case i64 = "I64"
    case f64 = "F64"
    case c64 = "C64"
    case f4 = "F4"
    case f6e2m3 = "F6_E2M3"
    case f6e3m2 = "F6_E3M2"
    case f8e4m3 = "F8_E4M3"
    case f8e5m2 = "F8_E5M2"
    case f8e8m0 = "F8_E8M0"
    case f8e4m3fnuz = "F8_E4M3FNUZ"
    case f8e5m2fnuz = "F8_E5M2FNUZ"

    /// Bits of one element.
    public var bits: Int {
        switch self {
        case .f4: 4
        case .f6e2m3, .f6e3m2: 6
        case .bool, .u8, .i8, .f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
        case .u16, .i16, .f16, .bf16: 16
        case .u32, .i32, .f32: 32
        case .u64, .i64, .f64, .c64: 64
        }
    }

    /// The type of a tensor in memory, or nil when such elements cannot be weights.
    ///
    /// F64 is rounded to f32; F8_E4M3 and F8_E5M2 are exact in bf16.
    public var weight: DType? {
        switch self {
        case .f32, .f64: .f32
        case .f16: .f16
        case .bf16, .f8e4m3, .f8e5m2: .bf16
        default: nil
        }
    }

    /// Whether the file's bytes are those in memory.
    var isNative: Bool { self == .f32 || self == .f16 || self == .bf16 }

    /// Whether the elements are integers or truth values: counters, positions and masks, never weights.
    public var isIntegral: Bool {
        switch self {
        case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64: true
        default: false
        }
    }

    /// Bytes of `count` elements, or nil when they do not fill whole bytes or do not fit an `Int`.
    func bytes(count: Int) -> Int? {
        guard let bits = Checked.multiply(count, bits), bits % 8 == 0 else { return nil }
        return bits / 8
    }
}

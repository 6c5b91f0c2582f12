/// Element types of tensors at rest. Computation is in f32; narrower weights are widened where they are used.
///
/// Two are those of packed ``WeightMatrix`` elements alone: `int8` of quantised ones, which mean nothing without their scales, and `pairs` of
/// two inputs side by side as bf16, for products in ``Precision/bf16``.
public enum DType: Int32, Sendable, CaseIterable {
    case f32 = 0
    case f16 = 1
    case bf16 = 2
    case int8 = 3
    case pairs = 4

    /// Bytes per element.
    public var size: Int {
        switch self {
        case .f32, .pairs: 4
        case .f16, .bf16: 2
        case .int8: 1
        }
    }

    /// Whether elements mean something by themselves, one after the other.
    var isPlain: Bool { self != .int8 && self != .pairs }

    /// The name used by safetensors.
    public var name: String {
        switch self {
        case .f32: "F32"
        case .f16: "F16"
        case .bf16: "BF16"
        case .int8: "I8"
        case .pairs: "BF16 pairs"
        }
    }
}

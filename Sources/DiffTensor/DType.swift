/// Element types of tensors at rest. Computation is in f32; narrower weights are widened where they are used.
///
/// `int8` is that of quantised ``WeightMatrix`` elements alone, which mean nothing without their scales.
public enum DType: Int32, Sendable, CaseIterable {
    case f32 = 0
    case f16 = 1
    case bf16 = 2
    case int8 = 3

    /// Bytes per element.
    public var size: Int {
        switch self {
        case .f32: 4
        case .f16, .bf16: 2
        case .int8: 1
        }
    }

    /// The name used by safetensors.
    public var name: String {
        switch self {
        case .f32: "F32"
        case .f16: "F16"
        case .bf16: "BF16"
        case .int8: "I8"
        }
    }
}

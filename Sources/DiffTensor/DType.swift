/// Element types of tensors at rest. Computation is in f32; narrower weights are widened where they are used.
public enum DType: Int32, Sendable, CaseIterable {
    case f32 = 0
    case f16 = 1
    case bf16 = 2

    /// Bytes per element.
    public var size: Int { self == .f32 ? 4 : 2 }

    /// The name used by safetensors.
    public var name: String {
        switch self {
        case .f32: "F32"
        case .f16: "F16"
        case .bf16: "BF16"
        }
    }
}

import CKernels

/// What products of matrices are computed in: linear layers over tokens, direct convolutions and attention. Everything else is f32.
public enum Precision: String, Sendable, CaseIterable {
    /// Factors and sums in f32.
    case f32
    /// Factors rounded to bf16, to nearest with ties to even; products of two of them are exact, and their sums f32.
    case bf16

    /// The kernels' word for the factors of products.
    var factors: Int32 { self == .bf16 ? Int32(CK_PAIRS) : Int32(CK_F32) }

    /// Whether the processor, with the instruction set in use, multiplies in it.
    public var isSupported: Bool {
        switch self {
        case .f32: true
        case .bf16: ck_pairs_supported() != 0
        }
    }
}

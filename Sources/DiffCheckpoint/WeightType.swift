/// What a model's weights are kept as in memory. Computation is in f32 whatever they are.
public enum WeightType: String, Sendable, CaseIterable {
    /// Each tensor in the file's element type.
    case stored
    /// All in f32.
    case f32
    /// Matrices of linear layers over tokens, a language model's head among them, as whole numbers of one byte with a scale for each
    /// output; all else as stored. For inference only.
    case int8
}

/// What a network predicts of a noisy state, in diffusers' words.
public enum PredictionType: String, Sendable, CaseIterable {
    /// The noise ε in x = √ᾱ x0 + √(1 - ᾱ) ε.
    case epsilon
    /// v = √ᾱ ε - √(1 - ᾱ) x0 (Salimans and Ho 2022): the only kind that is defined where ᾱ is 0.
    case velocity = "v_prediction"
    /// The clean image x0 itself.
    case sample
}

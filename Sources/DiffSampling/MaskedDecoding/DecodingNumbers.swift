import DiffTensor

/// What numbers of a request must be so that arithmetic in f32 means what they say.
enum DecodingNumbers {
    /// Throws unless `value` is 0 or a divisor that neither rounds to 0 nor takes logits out of range.
    static func temperature(_ value: Double, _ name: String) throws(DiffError) {
        guard value == 0 || Checked.divisor(value) != nil else {
            throw DiffError(
                .invalidArgument,
                "\(name) must be 0 (the most probable) or \(Checked.divisors.lowerBound)...\(Checked.divisors.upperBound), "
                    + "found \(value)")
        }
    }

    /// Throws unless `value` is a probability above 0.
    static func threshold(_ value: Double?) throws(DiffError) {
        guard let value else { return }
        guard value <= 1, Checked.divisor(value) != nil else {
            throw DiffError(
                .invalidArgument,
                "a threshold must be \(Checked.divisors.lowerBound)...1, found \(value)")
        }
    }
}

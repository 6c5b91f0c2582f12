import DiffTensor

/// A token of a word and which of the word's bytes it stands for.
struct TokenPiece: Equatable {
    var token: Int32
    var start: Int32, end: Int32

    init(_ token: Int, _ bytes: Range<Int>) {
        self.token = Int32(truncatingIfNeeded: token)
        (start, end) = (Int32(truncatingIfNeeded: bytes.lowerBound), Int32(truncatingIfNeeded: bytes.upperBound))
    }

    /// Two neighbours as one.
    init(_ token: Int32, _ left: TokenPiece, _ right: TokenPiece) {
        (self.token, start, end) = (token, left.start, right.end)
    }
}

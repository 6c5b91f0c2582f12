import DiffModels
import DiffTensor

/// Where a text encoder comes from when it is used: it is there, or is loaded each time and given back afterwards.
struct EncoderSource<Encoder: AnyObject & Sendable>: Sendable {
    /// The encoder; without weights where it is loaded each time. Good for its sizes and for dry runs.
    let outline: Encoder
    private let load: (@Sendable () throws(DiffError) -> Encoder)?

    /// An encoder that stays.
    init(resident encoder: Encoder) { (outline, load) = (encoder, nil) }

    /// An encoder that `load` loads, and `outline`, the same without weights.
    init(outline: Encoder, load: @escaping @Sendable () throws(DiffError) -> Encoder) {
        (self.outline, self.load) = (outline, load)
    }

    /// Whether it stays in memory.
    var isResident: Bool { load == nil }

    /// The encoder for `run`. Throws what loading throws.
    func encoder(_ run: Run) throws(DiffError) -> Encoder {
        guard let load, !run.isDry else { return outline }
        return try load()
    }
}

import DiffTensor

/// The newest tensors of a run, at most four. A slot is not an array's: pushing allocates nothing.
struct TensorHistory: Sendable {
    private var newest: Tensor?, second: Tensor?, third: Tensor?, fourth: Tensor?
    private let limit: Int

    /// A history of at most `limit` tensors, 1...4.
    init(limit: Int) { self.limit = limit }

    /// How many there are.
    private(set) var count = 0

    /// The tensor pushed `age` pushes ago: 0 is the newest.
    subscript(age: Int) -> Tensor? {
        switch age {
        case 0: newest
        case 1: second
        case 2: third
        case 3: fourth
        default: nil
        }
    }

    /// Adds a tensor and forgets what is older than the limit.
    mutating func push(_ tensor: Tensor) {
        fourth = limit > 3 ? third : nil
        third = limit > 2 ? second : nil
        second = limit > 1 ? newest : nil
        newest = tensor
        count = min(count &+ 1, limit)
    }
}

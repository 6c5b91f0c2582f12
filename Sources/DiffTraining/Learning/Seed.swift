import DiffCheckpoint
import DiffTensor

extension JSONObject {
    /// The member `seed`, an integer that is not negative; `fallback` when absent. Throws `format`.
    func seed(default fallback: UInt64 = 0) throws(DiffError) -> UInt64 {
        let seed = try optionalInteger("seed", in: 0...Int.max)
        return seed.map { UInt64(truncatingIfNeeded: $0) } ?? fallback
    }
}

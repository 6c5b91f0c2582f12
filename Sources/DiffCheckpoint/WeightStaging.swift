import DiffTensor
import Synchronization

/// Room through which weights pass on their way into packed ones: one block for all layers.
///
/// A block of its own for each layer would be given back to the system in the middle of the packed ones, and the holes
/// stay with the process. Thread-safe: whoever finds the block taken gets another.
final class WeightStaging: Sendable {
    private let kept = Mutex<Storage?>(nil)

    /// Calls `body` with a block of at least `byteCount` bytes, whatever they hold. Throws what `body` throws,
    /// `outOfMemory` or `overBudget`.
    func withRoom<R>(
        _ byteCount: Int, budget: MemoryBudget?, _ body: (Storage) throws(DiffError) -> R
    ) throws(DiffError) -> R {
        var found = kept.withLock { kept in
            defer { kept = nil }
            return kept
        }
        if let block = found, block.byteCount < byteCount { found = nil }  // freed before the larger one is asked for
        let block: Storage
        if let found { block = found } else { block = try Storage(byteCount: byteCount, budget: budget) }
        defer { kept.withLock { $0 = block } }
        return try body(block)
    }

    /// Gives the block back.
    func clear() { kept.withLock { $0 = nil } }
}

import CKernels

/// One aligned block of memory, the only owner of raw bytes in the library; freed with its last reference.
///
/// A *virtual* storage has a size and no memory: dry runs use it to learn what a real run would need.
@safe
public final class Storage: @unchecked Sendable {
    // Unchecked: a block is written by the op that made it before anyone else sees it, or by a session's own thread.
    /// First byte; nil for a virtual block.
    public let base: UnsafeMutableRawPointer?
    /// Size in bytes.
    public let byteCount: Int
    private let budget: MemoryBudget?

    /// `byteCount` bytes of uninitialised memory charged to `budget`. Throws `outOfMemory` or `overBudget`.
    public init(byteCount: Int, budget: MemoryBudget?) throws(DiffError) {
        guard byteCount >= 0 else { throw DiffError(.internal, "a block cannot have \(byteCount) bytes") }
        var status: Int32 = 0
        guard let base = unsafe ck_alloc(budget?.account, byteCount, &status) else {
            if status == Int32(CK_OVER_BUDGET) {
                throw DiffError(
                    .overBudget,
                    "\(byteCount) more bytes would pass the memory limit of \(budget?.limit ?? 0) (\(budget?.used ?? 0) used)"
                )
            }
            throw DiffError(.outOfMemory, "the system could not allocate \(byteCount) bytes")
        }
        unsafe self.base = base
        self.byteCount = byteCount
        self.budget = budget
    }

    /// A block without memory, for dry runs.
    public init(virtual byteCount: Int) {
        unsafe self.base = nil
        self.byteCount = byteCount
        self.budget = nil
    }

    deinit {
        if let base = unsafe base { unsafe ck_free(budget?.account, base, byteCount) }
    }
}

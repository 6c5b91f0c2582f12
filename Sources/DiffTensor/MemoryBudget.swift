import CKernels

/// A byte account with an optional limit: every tensor block of a session is charged to it before it is allocated.
///
/// Thread-safe. The account lives as long as any block charged to it.
@safe
public final class MemoryBudget: @unchecked Sendable {
    // Unchecked: the C account is a set of atomics.
    let account: OpaquePointer

    /// An account that refuses to go beyond `limit` bytes (0: no limit). Throws `outOfMemory`.
    public init(limit: Int = 0) throws(DiffError) {
        guard let account = unsafe ck_budget_create(UInt64(max(0, limit))) else {
            throw DiffError(.outOfMemory, "no memory for a session's byte account")
        }
        unsafe self.account = account
    }

    deinit { unsafe ck_budget_destroy(account) }

    /// Bytes charged now.
    public var used: Int { Int(clamping: unsafe ck_budget_used(account)) }
    /// The most bytes ever charged at once.
    public var peak: Int { Int(clamping: unsafe ck_budget_peak(account)) }
    /// The limit in bytes; 0 means none.
    public var limit: Int { Int(clamping: unsafe ck_budget_limit(account)) }

    /// Starts a new peak measurement at the bytes charged now.
    public func resetPeak() { unsafe ck_budget_reset_peak(account) }
}

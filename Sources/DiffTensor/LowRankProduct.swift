import CKernels

/// Sums with products of small rank, for weights that are put together while they are loaded.
public enum LowRankProduct {
    /// target += a b for f32 matrices a [m, r], b [r, n] and `target`, whose elements are [m, n] in order. On the threads of `pool`;
    /// the sums do not depend on how many there are. Throws `shape`, `internal` for narrow elements, memory errors.
    public static func add(
        _ a: Tensor, _ b: Tensor, to target: Tensor, pool: WorkerPool?, budget: MemoryBudget?
    ) throws(DiffError) {
        let (m, r) = (a.shape[0], a.shape[1])
        let n = b.shape[1]
        guard a.shape.rank == 2, b.shape.rank == 2, b.shape[0] == r, Checked.multiply(m, n) == target.shape.count else {
            throw DiffError(.shape, "a product of \(a.shape) and \(b.shape) added to \(target.shape)")
        }
        guard a.dtype == .f32, b.dtype == .f32, target.dtype == .f32 else {
            throw DiffError(.internal, "a product of narrow elements")
        }
        guard m > 0, n > 0, r > 0 else { return }
        let room = ck_product_scratch(Int32(clamping: pool?.threads ?? 1), Int64(m), Int64(n), Int64(r))
        let scratch = room == 0 ? nil : try Storage(byteCount: room, budget: budget)
        guard let left = unsafe a.floats, let right = unsafe b.floats, let sum = unsafe target.floats else { return }
        var arguments = unsafe ck_product_args()
        unsafe (arguments.a, arguments.lda, arguments.a_form) = unsafe (
            UnsafePointer(left), Int64(r), Int32(CK_BY_ROWS)
        )
        unsafe (arguments.b, arguments.ldb, arguments.b_form) = unsafe (
            UnsafePointer(right), Int64(n), Int32(CK_BY_COLUMNS)
        )
        unsafe (arguments.c, arguments.ldc) = unsafe (sum, Int64(n))
        unsafe (arguments.m, arguments.n, arguments.k) = (Int64(m), Int64(n), Int64(r))
        unsafe arguments.accumulate = 1
        unsafe arguments.scratch = scratch?.base
        withExtendedLifetime(scratch) { unsafe ck_product(pool?.pool, &arguments) }
    }
}

import CKernels

/// Sums over the groups of a group norm whose input comes in pieces: what its mean and variance are made of. Used by one thread.
public final class GroupSums {
    /// f64 [batch, groups, 2]
    private let sums: Storage
    fileprivate let batch: Int, groups: Int
    /// Elements of each group so far.
    fileprivate var count = 0

    fileprivate init(_ sums: Storage, batch: Int, groups: Int) {
        (self.sums, self.batch, self.groups) = (sums, batch, groups)
    }

    fileprivate var doubles: UnsafeMutablePointer<Double>? {
        unsafe sums.base.map { unsafe $0.assumingMemoryBound(to: Double.self) }
    }
}

extension Run {
    /// Sums over nothing yet, for planes of `batch` samples in `groups` groups of channels.
    public func groupSums(batch: Int, groups: Int) throws(DiffError) -> GroupSums {
        let count = try Shape(batch, groups, 2).count
        let sums = GroupSums(try workspace.block(8 &* count), batch: batch, groups: groups)
        guard isLive, let to = unsafe sums.doubles else { return sums }
        for index in Indices(below: count) { unsafe to[index] = 0 }
        return sums
    }

    /// Adds the elements of a piece [batch, channels, h, w]. Throws `shape`.
    public func add(_ x: Tensor, to sums: GroupSums, _ norm: GroupNormalisation) throws(DiffError) {
        var arguments = try unsafe groupNormArguments(x, norm)
        guard x.shape[0] == sums.batch, norm.groups == sums.groups else {
            throw DiffError(.shape, "sums of \(sums.batch) x \(sums.groups) groups over \(x.shape)")
        }
        sums.count = Checked.sum(sums.count, x.shape.count / max(1, x.shape[0] &* norm.groups))
        count(flops: 3 * Double(x.shape.count))
        guard isLive else { return }
        unsafe ck_group_norm_sums(poolHandle, &arguments, sums.doubles)
    }

    /// What `norm` does to each channel when its mean and variance are those of `sums`: [batch, channels, 3], for
    /// ``ConvolutionExtras/factors``.
    public func factors(_ sums: GroupSums, _ norm: GroupNormalisation) throws(DiffError) -> Tensor {
        let channels = norm.weight.shape.count
        let factors = try workspace.take(Shape(sums.batch, channels, 3))
        guard sums.groups > 0, norm.groups == sums.groups, channels % sums.groups == 0,
            norm.bias.shape.count == channels
        else { throw DiffError(.shape, "sums of \(sums.groups) groups for a norm of \(norm.groups)") }
        guard isLive else { return factors }
        var arguments = unsafe ck_group_norm_args()
        unsafe (arguments.weight, arguments.bias) = unsafe (
            UnsafePointer(norm.weight.floats), UnsafePointer(norm.bias.floats)
        )
        unsafe (arguments.batch, arguments.channels) = (Int64(sums.batch), Int64(channels))
        unsafe (arguments.groups, arguments.eps) = (Int64(norm.groups), norm.eps)
        unsafe ck_group_norm_sum_factors(&arguments, sums.doubles, Int64(sums.count), factors.floats)
        return factors
    }

    /// `norm` of [batch, channels, h, w] by known factors, then its activation.
    func groupNorm(_ x: Tensor, _ norm: GroupNormalisation, factors: Tensor) throws(DiffError) -> Tensor {
        var arguments = try unsafe groupNormArguments(x, norm)
        let out = try workspace.take(x.shape)
        count(flops: 5 * Double(x.shape.count))
        guard isLive else { return out }
        unsafe arguments.out = out.floats
        unsafe ck_group_norm_apply(poolHandle, &arguments, factors.floats)
        return out
    }

    /// Writes the rows of `x` [batch, channels, n, w] into those from `top` on of `out` [batch, channels, h, w]. Throws `shape`.
    public func storeRows(_ x: Tensor, in out: Tensor, at top: Int) throws(DiffError) {
        try refuseTracked(x, "a store of rows")
        let (rows, width) = (x.shape[2], x.shape[3])
        guard x.shape.rank == 4, out.shape.rank == 4, x.shape[0] == out.shape[0], x.shape[1] == out.shape[1],
            width == out.shape[3], top >= 0, rows <= out.shape[2], top <= out.shape[2] &- rows
        else { throw DiffError(.shape, "rows \(x.shape) into \(out.shape) at \(top)") }
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        unsafe ck_copy_runs(
            poolHandle, from, Int64(rows &* width), to + top &* width, Int64(out.shape[2] &* width),
            Int64(x.shape[0] &* x.shape[1]), Int64(rows &* width))
    }
}

import CKernels

/// Which candidates a draw may take, and how it weighs them.
public struct Truncation: Sendable, Equatable {
    /// Keep only the topK largest logits, and those equal to the last of them; 0: all.
    public var topK: Int
    /// Nucleus sampling: keep the smallest set with cumulative probability ≥ topP of what topK left; 0: all. The source sums from the
    /// smallest upwards and drops while the sum is at most 1 - topP; the largest always stays.
    public var topP: Double
    /// Remaining logits are divided by it: top-k and top-p act at temperature 1, as in CoDe.
    public var temperature: Float

    /// All candidates at temperature 1 unless said otherwise.
    public init(topK: Int = 0, topP: Double = 0, temperature: Float = 1) {
        (self.topK, self.topP, self.temperature) = (topK, topP, temperature)
    }
}

extension Run {
    private static var wordsAtOnce: Int { 1 << 16 }

    /// Logits [..., vocabulary] with dropped candidates at -infinity, the others divided by the temperature, and how many are left
    /// of each row. Source: `sample_with_top_k_top_p_` of the official VAR code.
    public func truncated(
        _ logits: Tensor, _ truncation: Truncation
    ) throws(DiffError) -> (logits: Tensor, kept: [Int]) {
        let out = try copy(logits)
        let (rows, width) = (logits.shape.rows, logits.shape.last)
        let scratch = try scratch(ck_truncate_scratch(Int32(clamping: threads), Int64(width)))
        let kept = unsafe indices(rows) { kept in
            unsafe ck_truncate_rows(
                poolHandle, out.floats, Int64(rows), Int64(width), Int64(truncation.topK), truncation.topP,
                truncation.temperature, kept, scratch?.base)
        }
        return (out, kept)
    }

    /// One candidate for each row of truncated logits by a race of exponential times [like logits]: the argmax of p / q with q ~ Exp(1), as
    /// `torch.multinomial` draws one sample on the CPU. CUDA uses the same formula with another generator, so its tokens cannot be
    /// reproduced from a seed. In a dry run all are 0.
    public func racing(_ logits: Tensor, times: Tensor) throws(DiffError) -> [Int] {
        guard times.shape.count == logits.shape.count else {
            throw DiffError(.shape, "draws \(times.shape) for logits \(logits.shape)")
        }
        return unsafe indices(logits.shape.rows) { index in
            unsafe ck_race_codes(
                poolHandle, logits.floats, times.floats, index, Int64(logits.shape.rows), Int64(logits.shape.last))
        }
    }

    /// One candidate for each row of truncated logits: the first at which the running sum of the probabilities passes the row's
    /// number in `uniforms`.
    public func inverting(_ logits: Tensor, uniforms: Tensor) throws(DiffError) -> [Int] {
        guard uniforms.shape.count == logits.shape.rows else {
            throw DiffError(.shape, "draws \(uniforms.shape) for logits \(logits.shape)")
        }
        return unsafe indices(logits.shape.rows) { index in
            unsafe ck_inverse_rows(
                poolHandle, logits.floats, uniforms.floats, index, Int64(logits.shape.rows), Int64(logits.shape.last))
        }
    }

    /// softmax((sharpness · logits - ln times) / tau): candidates mixed instead of one chosen.
    public func gumbelWeights(
        _ logits: Tensor, times: Tensor, sharpness: Float, tau: Float
    ) throws(DiffError) -> Tensor {
        guard times.shape.count == logits.shape.count else {
            throw DiffError(.shape, "draws \(times.shape) for logits \(logits.shape)")
        }
        let out = try workspace.take(logits.shape)
        count(flops: 8 * Double(logits.shape.count))
        if isLive {
            unsafe ck_gumbel_codes(
                poolHandle, logits.floats, times.floats, out.floats, Int64(logits.shape.rows),
                Int64(logits.shape.last), sharpness, tau)
        }
        return out
    }

    /// The rows of `table` [count, width] nearest to those of `x` [..., width]; `norms` [count] are the squares of the table's
    /// lengths. In a dry run all are 0.
    public func nearestRows(_ x: Tensor, in table: Tensor, norms: Tensor) throws(DiffError) -> [Int] {
        guard x.shape.last == table.shape.last, table.shape.rank == 2, norms.shape.count == table.shape[0],
            table.dtype == .f32, table.shape[0] > 0
        else { throw DiffError(.shape, "nearest rows of \(table.shape) to \(x.shape)") }
        count(flops: 2 * Double(x.shape.count) * Double(table.shape[0]))
        return unsafe indices(x.shape.rows) { index in
            unsafe ck_nearest_rows(
                poolHandle, x.floats, table.floats, norms.floats, index, Int64(x.shape.rows), Int64(table.shape[0]),
                Int64(x.shape.last))
        }
    }

    /// Exponential values like `logits` for a race, as `torch.Tensor.exponential_` draws them from `generator`. Those of dropped
    /// candidates are drawn, since each advances the generator, but not computed.
    public func exponentialTimes(for logits: Tensor, _ generator: inout TorchRandom) throws(DiffError) -> Tensor {
        let out = try workspace.take(logits.shape)
        let count = logits.shape.count
        // The stream has one order; the logarithms, which take longer, have not.
        let bits = try scratch(min(count, Self.wordsAtOnce) &* 8)
        guard isLive, let values = unsafe out.floats, let mask = unsafe logits.floats,
            let words = unsafe bits?.base?.assumingMemoryBound(to: UInt64.self)
        else { return out }
        var done = 0
        while done < count {
            let next = min(count &- done, Self.wordsAtOnce)
            unsafe generator.words53(words, count: next)
            unsafe ck_exponential_times(poolHandle, words, mask + done, values + done, Int64(next))
            done &+= next
        }
        return out
    }

    /// Pixels in -1 ... 1 as the whole numbers 0 ... 255 below 255 (x + 1) / 2: what a cast to bytes leaves.
    public func flooredLevels(_ x: Tensor) throws(DiffError) -> Tensor {
        let out = try workspace.take(x.shape)
        if isLive { unsafe ck_floor_levels(poolHandle, x.floats, out.floats, Int64(x.shape.count)) }
        return out
    }

    private func indices(_ rows: Int, _ fill: (UnsafeMutablePointer<Int64>?) -> Void) -> [Int] {
        var found = [Int64](repeating: 0, count: max(0, rows))
        if isLive { unsafe found.withUnsafeMutableBufferPointer { unsafe fill($0.baseAddress) } }
        return found.each.map { Int($0) }
    }
}

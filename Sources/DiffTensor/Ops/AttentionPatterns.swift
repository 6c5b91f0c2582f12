import CKernels

/// What an attention has beside its queries, keys and values.
struct AttentionExtras {
    /// Attentions that share the rows in turn: row n belongs to number n mod `groups`.
    var groups = 1
    /// Whether queries see the keys of their own group.
    var seesOwnKeys = true
    /// Keys and values that every group sees besides.
    var sharedKeys: AttentionRows?, sharedValues: AttentionRows?
    /// Added to the scaled products of each group with the shared keys: [groups, keys].
    var sharedBias: Tensor?
    /// Rows to either side of a query whose keys of all groups it sees besides; what is added to the products with them: [keys of all].
    var window = 0, windowBias: Tensor?
    /// Query-key pairs in these windows, of a sample.
    var pairsNear = 0.0
    /// Added to the scaled products: [batch, keys].
    var bias: Tensor?
    /// Added to them by the distance of key and query: [heads or 1, queries + keys - 1].
    var distances: Tensor?

    /// Puts these into arguments that describe one attention of all rows; each group has `keys` of its own.
    @unsafe func fill(_ arguments: inout ck_attention_args, keys: Int) {
        let count = Int64(max(1, groups))
        unsafe (arguments.groups, arguments.keys) = (count, Int64(keys))
        unsafe arguments.queries /= count
        unsafe (arguments.q_group, arguments.k_group) = (arguments.q_row, arguments.k_row)
        unsafe (arguments.v_group, arguments.out_group) = (arguments.v_row, arguments.out_row)
        unsafe (arguments.q_row, arguments.k_row) = (arguments.q_row &* count, arguments.k_row &* count)
        unsafe (arguments.v_row, arguments.out_row) = (arguments.v_row &* count, arguments.out_row &* count)
        if let keys = sharedKeys, let values = sharedValues {
            unsafe (arguments.shared_k, arguments.shared_v) = unsafe (keys.floats, values.floats)
            unsafe (arguments.shared_k_batch, arguments.shared_k_row) = (Int64(keys.batchStride), Int64(keys.rowStride))
            unsafe (arguments.shared_v_batch, arguments.shared_v_row) = (
                Int64(values.batchStride), Int64(values.rowStride)
            )
            unsafe arguments.shared = Int64(keys.rows)
            if let sharedBias, let floats = unsafe sharedBias.floats {
                unsafe (arguments.shared_bias, arguments.shared_bias_group) = (UnsafePointer(floats), Int64(keys.rows))
            }
        }
        unsafe arguments.window = Int64(window)
        if let windowBias, let floats = unsafe windowBias.floats {
            unsafe arguments.window_bias = UnsafePointer(floats)
        }
        if let bias, let floats = unsafe bias.floats {
            unsafe (arguments.bias, arguments.bias_batch) = (UnsafePointer(floats), Int64(bias.shape.last))
        }
        if let distances, let floats = unsafe distances.floats {
            let last = distances.shape.last
            // Query 0 begins where the distance is 0, each further one an entry before.
            unsafe arguments.table = UnsafePointer(floats + max(0, last &- keys))
            unsafe (arguments.table_head, arguments.table_row) = (distances.shape[0] == 1 ? 0 : Int64(last), -1)
        }
    }
}

extension Run {
    /// One attention per group of tokens over its own keys, then the shared ones and those near in time: LiteFocus' row form. Source:
    /// LiteFocus, without a window.
    @inline(never)
    func groupedAttention(
        _ call: AttentionCall, _ groups: AttentionGroups, _ scale: Float
    ) throws(DiffError) -> Tensor {
        let (q, k, v) = (call.queries, call.keys, call.values)
        try refuseTracked(call, "an attention in groups; learn with dense attention")
        guard call.isSelfAttention, call.prefix == 0, k.rows == q.rows else {
            throw DiffError(
                .unsupported,
                "attention in groups is for tokens that see each other on a grid without tokens in front of it; leave "
                    + "this site dense")
        }
        guard groups.count > 0, q.rows % groups.count == 0 else {
            throw DiffError(.shape, "attention: \(q.rows) tokens do not divide into \(groups.count) groups")
        }
        guard groups.window >= 0, groups.seesOwnKeys || !groups.shared.isEmpty || groups.window > 0 else {
            throw DiffError(
                .invalidArgument,
                "attention in groups without own and without shared keys, with a window of \(groups.window): queries see nothing"
            )
        }
        var extras = AttentionExtras(groups: groups.count, seesOwnKeys: groups.seesOwnKeys)
        if !groups.shared.isEmpty {
            extras.sharedKeys = try gathered(k, groups.shared)
            extras.sharedValues = try gathered(v, groups.shared)
            if groups.countsOnce, groups.seesOwnKeys { extras.sharedBias = try hidingOwn(groups) }
        }
        extras.pairsNear = groups.pairsNear(times: q.rows / groups.count)
        if extras.pairsNear > 0 {
            extras.window = min(groups.window, q.rows)
            if groups.countsOnce, !groups.shared.isEmpty { extras.windowBias = try hiding(groups.shared, of: q.rows) }
        }
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        try compute(q, k, v, call.heads, scale, extras, to: out)
        return out
    }

    /// Attention to the keys that `mask` leaves visible.
    @inline(never)
    func maskedAttention(_ call: AttentionCall, _ mask: KeyMask, _ scale: Float) throws(DiffError) -> Tensor {
        let q = call.queries
        try refuseTracked(call, "an attention under a key mask; learn with dense attention")
        let bias = try mask.bias(batch: q.batch, keys: call.keys.rows, self)
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        try compute(q, call.keys, call.values, call.heads, scale, AttentionExtras(bias: bias), to: out)
        return out
    }

    /// Attention whose products are changed by how far a key stands from its query.
    @inline(never)
    func distanceAttention(_ call: AttentionCall, _ bias: DistanceBias, _ scale: Float) throws(DiffError) -> Tensor {
        let (q, keys, shape) = (call.queries, call.keys.rows, bias.values.shape)
        try refuseTracked(call, "an attention by distances; learn with dense attention")
        guard shape.rank == 2, shape[0] == 1 || shape[0] == call.heads, bias.values.dtype == .f32, q.rows > 0,
            keys > 0, shape[1] == q.rows &+ keys &- 1
        else {
            throw DiffError(
                .shape, "attention of \(q.rows) queries to \(keys) keys by distances \(bias.values.dtype) \(shape)")
        }
        var extras = AttentionExtras(distances: bias.values)
        extras.bias = try bias.mask?.bias(batch: q.batch, keys: keys, self)
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        try compute(q, call.keys, call.values, call.heads, scale, extras, to: out)
        return out
    }

    /// Hides of the shared tokens, for each group, those that are its own: [groups, shared].
    private func hidingOwn(_ groups: AttentionGroups) throws(DiffError) -> Tensor {
        let bias = try workspace.take(Shape(groups.count, groups.shared.count))
        guard isLive, let to = unsafe bias.floats else { return bias }
        for group in Indices(below: groups.count) {
            for (position, token) in groups.shared.numbered {
                let isOwn = token % max(1, groups.count) == group
                unsafe to[group &* groups.shared.count &+ position] = isOwn ? -.infinity : 0
            }
        }
        return bias
    }

    /// Hides tokens `shared` of `count`: [count].
    private func hiding(_ shared: [Int], of count: Int) throws(DiffError) -> Tensor {
        let bias = try workspace.take(Shape(count))
        guard isLive, let to = unsafe bias.floats else { return bias }
        for token in Indices(below: count) { unsafe to[token] = 0 }
        for token in shared.each where token >= 0 && token < count { unsafe to[token] = -.infinity }
        return bias
    }

    private func refuseTracked(_ call: AttentionCall, _ what: StaticString) throws(DiffError) {
        for rows in [call.queries, call.keys, call.values] { try refuseTracked(rows.tensor, what) }
    }

    /// Rows `indices` of every sample, side by side: [batch, indices.count, width].
    private func gathered(_ rows: AttentionRows, _ indices: [Int]) throws(DiffError) -> AttentionRows {
        let out = try workspace.take(Shape(rows.batch, indices.count, rows.width))
        for (position, index) in indices.numbered {
            guard index >= 0, index < rows.rows else {
                throw DiffError(
                    .invalidArgument, "shared key \(index) at position \(position) is outside 0..<\(rows.rows)")
            }
            guard isLive, let from = unsafe rows.floats, let to = unsafe out.floats else { continue }
            for sample in Indices(below: rows.batch) {
                let source = sample &* rows.batchStride &+ index &* rows.rowStride
                let target = (sample &* indices.count &+ position) &* rows.width
                unsafe (to + target).update(from: from + source, count: rows.width)
            }
        }
        return try AttentionRows(out)
    }
}

extension KeyMask {
    /// What is added to the scaled products of `batch` samples and `keys` keys: [batch, keys]. Throws `shape`, and `invalidArgument` where
    /// a sample has no key left.
    public func bias(batch: Int, keys: Int, _ run: Run) throws(DiffError) -> Tensor {
        let tensor =
            switch self {
            case .bias(let tensor), .visible(let tensor): tensor
            }
        guard tensor.shape == (try Shape(batch, keys)), tensor.dtype == .f32 else {
            throw DiffError(.shape, "a key mask is \(tensor.dtype) \(tensor.shape), expected f32 [\(batch), \(keys)]")
        }
        var bias = tensor
        if case .visible = self { bias = try run.workspace.take(tensor.shape) }
        guard run.isLive, let from = unsafe tensor.floats, let to = unsafe bias.floats else { return bias }
        for sample in Indices(below: batch) {
            var largest = -Float.infinity
            for index in Indices(below: keys) {
                let position = sample &* keys &+ index
                // diffusers hides a key by this much: the weight is exactly zero beside any that is seen.
                if case .visible = self { unsafe to[position] = (1 - from[position]) * -10_000 }
                let value = unsafe to[position]
                largest = value.isNaN ? value : value > largest ? value : largest
                if largest.isNaN { break }
            }
            guard largest.isFinite else {
                throw DiffError(
                    .invalidArgument,
                    "the key mask of sample \(sample) hides every key or is not finite: leave one key visible")
            }
        }
        return bias
    }
}

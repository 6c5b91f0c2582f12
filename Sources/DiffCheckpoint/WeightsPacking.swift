public import DiffTensor

/// Weights of linear layers over tokens, put into the order of the matrix kernels while they are loaded.
extension Weights {
    /// The weights [outputs, inputs] of a linear layer over tokens, packed: the tensor `name` of extents `dims` (or `orShape`,
    /// whose elements are in the same order), of which all but the first are inputs.
    ///
    /// They pass through one block that all layers share, so that a model takes its packed weights and room for its
    /// largest layer, no more. With ``WeightType/int8`` they are quantised on the way, for ``DiffTensor/Precision/bf16`` put in pairs.
    public func packed(
        _ name: String, _ dims: [Int], orShape other: [Int]? = nil
    ) throws(DiffError) -> WeightMatrix {
        let shapes = [try wanted(dims, for: name), try wanted(other ?? dims, for: name)]
        // Weights that are learned, or that gradients pass through, are read in both directions.
        if options.parameters != nil {
            return try WeightMatrix(load(name, accepting: shapes, widening: true))
        }
        return try packing([name]) { (block) throws(DiffError) in
            try load(name, accepting: shapes, widening: options.widens, into: block)
        }
    }

    /// The same of the tensors `names`, each of extents `dims`, stacked along the first axis.
    public func packed(concatenating names: [String], _ dims: [Int]) throws(DiffError) -> WeightMatrix {
        if options.parameters != nil { return try WeightMatrix(stacked(names, dims, widening: true)) }
        return try packing(names) { (block) throws(DiffError) in
            try stacked(names, dims, widening: options.widens, into: block)
        }
    }

    /// The weights of a linear layer over tokens whose tensor `name` is stored the other way round, [inputs, outputs], as GPT-2's are.
    /// Throws `unsupported` when they are to be learned.
    public func packed(transposing name: String, inputs: Int, outputs: Int) throws(DiffError) -> WeightMatrix {
        guard options.parameters == nil else {
            throw DiffError(.unsupported, "\(full(name)): weights stored as [inputs, outputs] cannot be learned")
        }
        let stored = try load(name, accepting: [wanted([inputs, outputs], for: name)], widening: options.widens)
        return try packed(stored.transposed(budget: options.budget))
    }

    /// The weights of a linear layer over vectors, row-major: `tensor`, which is theirs. For ``DiffTensor/Precision/bf16`` those in f32 are
    /// rounded to bf16: such a layer waits for its weights, which are read once in a call, and multiplies in f32 all the same.
    public func unpacked(_ tensor: Tensor) throws(DiffError) -> WeightMatrix {
        guard options.precision == .bf16, options.parameters == nil, tensor.dtype == .f32 else {
            return try WeightMatrix(tensor)
        }
        let bytes = tensor.shape.count &* DType.bf16.size  // below 2^51 by Shape's bound
        let isVirtual = unsafe tensor.raw == nil
        let block = try isVirtual ? Storage(virtual: bytes) : Storage(byteCount: bytes, budget: options.budget)
        let narrow = try Tensor(block, tensor.shape, .bf16)
        try tensor.narrow(into: narrow, pool: options.pool)
        return try WeightMatrix(narrow)
    }

    private func packed(_ tensor: Tensor) throws(DiffError) -> WeightMatrix {
        let matrix = try WeightMatrix(tensor)
        if options.precision == .bf16 { return try matrix.paired(budget: options.budget, pool: options.pool) }
        return options.type == .int8
            ? try matrix.quantised(budget: options.budget, pool: options.pool)
            : try matrix.packed(budget: options.budget, pool: options.pool)
    }

    /// Packs what `load` makes of the tensors `names` in the block that it is given. Without one it makes its own, or
    /// none when they do not fit.
    private func packing(
        _ names: [String], _ load: (Storage?) throws(DiffError) -> Tensor
    ) throws(DiffError) -> WeightMatrix {
        guard WeightMatrix.packs || options.type == .int8 || options.precision == .bf16, let bytes = roomBytes(names)
        else {
            return try packed(load(nil))
        }
        return try staging.withRoom(bytes, budget: options.budget) { (block) throws(DiffError) in
            try packed(load(block))
        }
    }

    /// What `names` take when loaded together: as stored, or widened where they differ. Nil when one is not there, or
    /// when it needs no room, as when nothing is read.
    private func roomBytes(_ names: [String]) -> Int? {
        var (stored, widened): (Int, Int) = (0, 0)
        var types: Set<ElementType> = []
        var (areNative, isRead) = (true, false)
        for name in names.each {
            guard let entry = table.info(full(name)), let wide = Checked.multiply(entry.shape.count, DType.f32.size),
                let storedSum = Checked.add(stored, entry.byteCount), let wideSum = Checked.add(widened, wide)
            else { return nil }
            (stored, widened) = (storedSum, wideSum)
            types.insert(entry.type)
            areNative = areNative && entry.type.isNative
            isRead = isRead || isLoaded(entry)
        }
        guard isRead else { return nil }
        let widens =
            types.count > 1 || (options.widens && !types.contains(.f32)) || !areNative
        if names.count == 1 { return widens ? nil : stored }  // a widened tensor has a block of its own
        return widens ? widened : stored
    }
}

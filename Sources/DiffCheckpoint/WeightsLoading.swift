import DiffTensor

/// Reading the tensors that ``Weights`` looks up.
extension Weights {
    private func newBlock(_ byteCount: Int) throws(DiffError) -> Storage {
        try Storage(byteCount: byteCount, budget: options.budget)
    }

    func wanted(_ dims: [Int], for name: String) throws(DiffError) -> Shape {
        try locating(full(name)) { () throws(DiffError) in try Shape(dims) }
    }

    private func virtual(_ shape: Shape, _ type: DType) throws(DiffError) -> Tensor {
        try Tensor(Storage(virtual: shape.count &* type.size), shape, type)  // below 2^51 by Shape's bound
    }

    /// The entry of `name` if it has one of the shapes; notes what is wrong otherwise.
    private func entry(_ name: String, accepting shapes: [Shape]) -> TensorEntry? {
        let name = full(name)
        guard let entry = table.info(name) else {
            report.missing(name)
            return nil
        }
        report.use(entry.name)
        guard shapes.contains(entry.shape) else {
            report.wrong(table.sourceName(name), found: entry.shape, expected: shapes)
            return nil
        }
        return entry
    }

    func load(
        _ name: String, accepting shapes: [Shape], widening: Bool, into given: Storage? = nil
    ) throws(DiffError) -> Tensor {
        guard let shape = shapes.first else { throw DiffError(.internal, "\(full(name)): no shape asked for") }
        guard let entry = entry(name, accepting: shapes) else { return try virtual(shape, .f32) }
        let type = try table.weightType(entry)
        let widening = widening || options.parameters != nil
        guard isLoaded(entry) else { return noted([name], try virtual(shape, widening ? .f32 : type)) }
        if let updates = options.updates?.of(entry.name) {
            let tensor = try updated(entry, updates, as: widening ? .f32 : type, into: given)
            return noted([name], try tensor.reshaped(shape))
        }
        if !entry.type.isNative { return noted([name], try converted(entry, widening: widening).reshaped(shape)) }
        if widening, type != .f32 { return noted([name], try widened(entry).reshaped(shape)) }
        let block = if let given { given } else { try newBlock(entry.byteCount) }
        try table.read(entry.name, into: block, at: 0, pool: options.pool)
        return noted([name], try Tensor(block, entry.shape, type).reshaped(shape))
    }

    /// `tensor` as a parameter under the names it has in the checkpoint, when loading for learning.
    private func noted(_ names: [String], _ tensor: Tensor) -> Tensor {
        options.parameters?.add(names.map(full), tensor) ?? tensor
    }

    /// A tensor whose elements no kernel reads, in the type they are kept as or in f32.
    private func converted(_ entry: TensorEntry, widening: Bool) throws(DiffError) -> Tensor {
        let tensor = try table.converted(table.place(entry.name), budget: options.budget, pool: options.pool)
        return widening ? try tensor.widened(budget: options.budget) : tensor
    }

    /// A narrow tensor in f32; its own form passes through the staging block.
    private func widened(_ entry: TensorEntry) throws(DiffError) -> Tensor {
        guard entry.type.isNative else { return try converted(entry, widening: true) }
        let type = try table.weightType(entry)
        guard type != .f32 else { return try table.load(entry.name, budget: options.budget) }
        return try staging.withRoom(entry.byteCount, budget: options.budget) { (block) throws(DiffError) in
            try table.read(entry.name, into: block, at: 0, pool: options.pool)
            return try Tensor(block, entry.shape, type).widened(budget: options.budget)
        }
    }

    /// The tensors `names`, one after the other along the first axis: each of extents `dims`, but for the first one where `rows` says
    /// it name by name.
    func stacked(
        _ names: [String], _ dims: [Int], rows: [Int]? = nil, widening: Bool, into given: Storage? = nil
    ) throws(DiffError) -> Tensor {
        let place = full(names.first ?? "")
        let usual = try wanted(dims, for: names.first ?? "")
        guard usual.rank > 0, !names.isEmpty, (rows?.count ?? names.count) == names.count else {
            throw DiffError(.internal, "\(place): nothing to stack")
        }
        var (parts, count): ([Shape], Int) = ([], 0)
        for index in Indices(below: names.count) {
            let part = try locating(place) { () throws(DiffError) in
                try usual.replacingFirst(rows?.at(index) ?? usual[0])
            }
            parts.append(part)
            count = Checked.sum(count, part[0])
        }
        let shape = try locating(place) { () throws(DiffError) in try usual.replacingFirst(count) }
        var entries: [TensorEntry] = []
        var types: Set<DType> = []
        for (index, name) in names.numbered {
            guard let part = parts.at(index), let entry = entry(name, accepting: [part]) else { continue }
            entries.append(entry)
            // Parts that need converting anyway meet in f32.
            types.insert(entry.type.isNative ? try table.weightType(entry) : .f32)
        }
        let isNarrow = !widening && options.parameters == nil
        let type = isNarrow && types.count == 1 ? types.first ?? .f32 : .f32
        guard entries.count == names.count, entries.each.contains(where: isLoaded) else {
            return noted(names, try virtual(shape, type))
        }
        let block = if let given { given } else { try newBlock(shape.count &* type.size) }
        var start = 0
        for entry in entries.each {
            let partBytes = entry.shape.count &* type.size  // below 2^51 by Shape's bound
            let updates = options.updates?.of(entry.name)
            if updates == nil, entry.type.isNative, entry.type.weight == type {
                try table.read(entry.name, into: block, at: start, pool: options.pool)
            } else {
                let part: Tensor
                if let updates {
                    part = try updated(entry, updates, as: type, into: nil)
                } else {
                    part = try widened(entry)
                }
                try unsafe part.storage.withBytes { (bytes) throws(DiffError) in
                    guard let target = unsafe block.base, let source = bytes.baseAddress, bytes.count == partBytes
                    else {
                        throw DiffError(.internal, "\(entry.name): a block of another size")
                    }
                    unsafe (target + start).copyMemory(from: source, byteCount: partBytes)
                }
            }
            start &+= partBytes  // at most the block's size
        }
        return noted(names, try Tensor(block, shape, type))
    }
}

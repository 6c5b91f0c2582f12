public import DiffTensor

/// Weights of a model under construction, looked up by name within a scope.
///
/// A missing or wrongly shaped tensor does not stop the construction: it is noted, and a tensor without memory is
/// handed out, so that ``finish()`` can report all that does not fit in one error. The shape is checked before
/// anything is allocated. Failures to read, unsupported element types and lack of memory are thrown at once.
public struct Weights: Sendable {
    /// What decides how tensors are loaded.
    public struct Options: Sendable {
        /// Charged with every weight.
        public var budget: MemoryBudget?
        /// Whether all weights are widened to f32 when loaded.
        public var upcast: Bool
        /// Whether to hand out tensors without memory only, to learn what loading would take.
        public var dryRun: Bool
        /// The threads that weights are put in order on; nil: the calling thread alone.
        public var pool: WorkerPool?

        /// By default weights stay in the file's element type and are charged to nobody.
        public init(
            budget: MemoryBudget? = nil, upcast: Bool = false, dryRun: Bool = false, pool: WorkerPool? = nil
        ) {
            (self.budget, self.upcast, self.dryRun, self.pool) = (budget, upcast, dryRun, pool)
        }
    }

    /// The tensors looked up.
    public let table: TensorTable
    /// How they are loaded.
    public let options: Options
    /// The path of this scope in the checkpoint, such as `blocks.3.attn`; empty for the outermost.
    public let path: String
    private let report: WeightsReport

    /// The outermost scope over `table`.
    public init(_ table: TensorTable, options: Options = Options()) {
        (self.table, self.options, path, report) = (table, options, "", WeightsReport())
    }

    private init(_ parent: Weights, path: String) {
        (table, options, self.path, report) = (parent.table, parent.options, path, parent.report)
    }

    /// The scope `name` within this one; `name` may have several parts: `attn.qkv`.
    public func scope(_ name: String) -> Weights { Weights(self, path: full(name)) }

    /// The scope of the element `index` of a list, such as a block.
    public func scope(index: Int) -> Weights { scope(String(index)) }

    /// Name in the checkpoint of `name` in this scope.
    public func full(_ name: String) -> String {
        if path.isEmpty { return name }
        return name.isEmpty ? path : "\(path).\(name)"
    }

    /// Whether the checkpoint has `name` in this scope.
    public func has(_ name: String) -> Bool { table.has(full(name)) }

    /// The shape that `name` has in the checkpoint, or nil.
    public func shape(of name: String) -> Shape? { table.info(full(name))?.shape }

    /// The first of alternative names that the checkpoint has, else the first of all (which is then reported
    /// missing).
    public func first(of names: [String]) -> String { names.first(where: has) ?? names.first ?? "" }

    // MARK: Look-up

    /// The tensor `name`, which must have `shape`, in the file's element type (f32 with `upcast`).
    public func tensor(_ name: String, _ shape: Shape) throws(DiffError) -> Tensor {
        try load(name, accepting: [shape])
    }

    /// The same with the extents of the shape.
    public func tensor(_ name: String, _ dims: [Int]) throws(DiffError) -> Tensor {
        try tensor(name, wanted(dims, for: name))
    }

    /// The tensor `name`, stored with extents `dims` or `orShape`, whose elements are in the same order; handed out
    /// with `dims`. For a linear layer stored as a 1x1 convolution, or the reverse.
    public func tensor(_ name: String, _ dims: [Int], orShape other: [Int]) throws(DiffError) -> Tensor {
        let shape = try wanted(dims, for: name)
        let alternative = try wanted(other, for: name)
        guard shape.count == alternative.count else {
            throw DiffError(.internal, "\(full(name)): \(shape) and \(alternative) differ in size")
        }
        return try load(name, accepting: [shape, alternative])
    }

    /// The vector `name` of `count` elements, always in f32.
    public func vector(_ name: String, _ count: Int) throws(DiffError) -> Tensor {
        try tensor(name, [count]).widened(budget: options.budget)
    }

    // MARK: Fusing

    /// The tensors `names`, each of extents `dims`, stacked along the first axis in one block: `[names * dims[0],
    /// ...]`.
    ///
    /// For projections stored apart that are computed as one (`to_q`, `to_k`, `to_v`). The element type is that of
    /// the file when all parts share it, else f32.
    public func concatenated(_ names: [String], _ dims: [Int]) throws(DiffError) -> Tensor {
        try stacked(names, dims, widening: options.upcast)
    }

    /// The vectors `names` of `count` elements each, one after the other, in f32.
    public func concatenatedVectors(_ names: [String], _ count: Int) throws(DiffError) -> Tensor {
        try stacked(names, [count], widening: true)
    }

    // MARK: Report

    /// Notes that the tensors whose name in this scope begins with `prefix` are left out on purpose.
    public func markUsed(prefix: String) {
        let start = full(prefix)
        markUsed { $0.hasPrefix(start) }
    }

    /// Notes that the tensors for whose full names `condition` holds are left out on purpose.
    public func markUsed(where condition: (String) -> Bool) {
        for name in table.names where condition(name) { report.use(name) }
    }

    /// Throws one error that lists every missing, wrongly shaped and unused name (of the whole checkpoint, whatever
    /// the scope): `shape` when some shape is wrong, else `incompatible`. The first twelve of each kind are named.
    public func finish(allowingUnused: Bool = false) throws(DiffError) {
        try report.finish(table, allowingUnused: allowingUnused)
    }
}

extension Checkpoint {
    /// The outermost scope over the checkpoint's tensors, with a report of its own.
    public func weights(_ options: Weights.Options = Weights.Options()) -> Weights {
        Weights(tensors, options: options)
    }
}

// MARK: Loading

extension Weights {
    private func wanted(_ dims: [Int], for name: String) throws(DiffError) -> Shape {
        try locating(full(name)) { () throws(DiffError) in try Shape(dims) }
    }

    private func virtual(_ shape: Shape, _ type: DType) throws(DiffError) -> Tensor {
        try Tensor(Storage(virtual: shape.count * type.size), shape, type)  // below 2^51 by Shape's bound
    }

    /// The entry of `name` if it has one of the shapes; notes what is wrong otherwise.
    private func entry(_ name: String, accepting shapes: [Shape]) -> TensorEntry? {
        let name = full(name)
        guard let entry = table.info(name) else {
            report.missing(name)
            return nil
        }
        report.use(name)
        guard shapes.contains(entry.shape) else {
            report.wrong(name, found: entry.shape, expected: shapes)
            return nil
        }
        return entry
    }

    private func load(_ name: String, accepting shapes: [Shape]) throws(DiffError) -> Tensor {
        guard let shape = shapes.first else { throw DiffError(.internal, "\(full(name)): no shape asked for") }
        guard let entry = entry(name, accepting: shapes) else { return try virtual(shape, .f32) }
        let type = try table.weightType(entry)
        if options.dryRun { return try virtual(shape, options.upcast ? .f32 : type) }
        let tensor = try table.load(entry.name, budget: options.budget)
        return try (options.upcast ? tensor.widened(budget: options.budget) : tensor).reshaped(shape)
    }

    private func stacked(_ names: [String], _ dims: [Int], widening: Bool) throws(DiffError) -> Tensor {
        let place = full(names.first ?? "")
        let part = try wanted(dims, for: names.first ?? "")
        guard part.rank > 0, !names.isEmpty, let rows = Checked.multiply(part[0], names.count) else {
            throw DiffError(.internal, "\(place): nothing to stack")
        }
        let shape = try locating(place) { () throws(DiffError) in try part.replacingFirst(rows) }
        var entries: [TensorEntry] = []
        var types: Set<DType> = []
        for name in names {
            guard let entry = entry(name, accepting: [part]) else { continue }
            entries.append(entry)
            types.insert(try table.weightType(entry))
        }
        let type = !widening && types.count == 1 ? types.first ?? .f32 : .f32
        guard entries.count == names.count, !options.dryRun else { return try virtual(shape, type) }
        let block = try Storage(byteCount: shape.count * type.size, budget: options.budget)
        let partBytes = part.count * type.size  // below 2^51 by Shape's bound
        var start = 0
        for entry in entries {
            if entry.type.weight == type {
                try table.read(entry.name, into: block, at: start)
            } else {
                let wide = try table.load(entry.name, budget: options.budget).widened(budget: options.budget)
                try unsafe wide.storage.withBytes { (bytes) throws(DiffError) in
                    guard let target = unsafe block.base, let source = bytes.baseAddress, bytes.count == partBytes
                    else {
                        throw DiffError(.internal, "\(entry.name): a block of another size")
                    }
                    unsafe (target + start).copyMemory(from: source, byteCount: partBytes)
                }
            }
            start += partBytes
        }
        return try Tensor(block, shape, type)
    }
}

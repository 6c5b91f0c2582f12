public import DiffTensor

/// Weights of a model under construction, looked up by name within a scope.
///
/// A missing or wrongly shaped tensor does not stop the construction: it is noted, and a tensor without memory is
/// handed out, so that `finish()` can report all that does not fit in one error. The shape is checked before
/// anything is allocated. Failures to read, unsupported element types and lack of memory are thrown at once.
public struct Weights: Sendable {
    /// What decides how tensors are loaded.
    public struct Options: Sendable {
        /// Charged with every weight.
        public var budget: MemoryBudget?
        /// What weights are kept as.
        public var type: WeightType
        /// Whether to hand out tensors without memory only, to learn what loading would take.
        public var dryRun: Bool
        /// The threads that weights are packed on; nil: the calling thread alone.
        public var pool: WorkerPool?
        /// Loads for learning: every tensor in f32 and row-major, and noted here. Nil: for inference only.
        public var parameters: Parameters?
        /// Low-rank updates that are learned beside linear layers; only with `parameters`.
        public var lora: LoRAOptions?
        /// How convolutions with these weights are computed.
        public var convolution = ConvolutionMethod.auto
        /// What linear layers over tokens and convolutions with these weights multiply in.
        public var precision = Precision.f32
        /// Updates of finished files, added to the weights as they are loaded.
        public var updates: WeightUpdates?
        /// The part of the network whose matrices are loaded; nil: all of it.
        public var part: WeightsPart?

        /// By default weights stay in the file's element type and are not charged.
        public init(
            budget: MemoryBudget? = nil, type: WeightType = .stored, dryRun: Bool = false, pool: WorkerPool? = nil,
            parameters: Parameters? = nil, lora: LoRAOptions? = nil, updates: WeightUpdates? = nil
        ) {
            (self.budget, self.type, self.dryRun, self.pool) = (budget, type, dryRun, pool)
            (self.parameters, self.lora, self.updates) = (parameters, lora, updates)
        }

        var widens: Bool { type == .f32 }
    }

    /// The tensors looked up.
    public let table: TensorTable
    /// How they are loaded.
    public let options: Options
    /// The path of this scope in the checkpoint, such as `blocks.3.attn`; empty for the outermost.
    public let path: String
    let report: WeightsReport
    let staging: WeightStaging
    /// Room for a weight in f32 while it is changed.
    let updating: WeightStaging

    /// The outermost scope over `table`.
    public init(_ table: TensorTable, options: Options = Options()) {
        (self.table, self.options, path) = (table, options, "")
        (report, staging, updating) = (WeightsReport(), WeightStaging(), WeightStaging())
    }

    private init(_ parent: Weights, path: String) {
        (table, options, self.path) = (parent.table, parent.options, path)
        (report, staging, updating) = (parent.report, parent.staging, parent.updating)
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

    /// The tensor `name`, which must have `shape`, in the file's element type (f32 with ``WeightType/f32``).
    public func tensor(_ name: String, _ shape: Shape) throws(DiffError) -> Tensor {
        try load(name, accepting: [shape], widening: options.widens)
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
        return try load(name, accepting: [shape, alternative], widening: options.widens)
    }

    /// The vector `name` of `count` elements, always in f32.
    public func vector(_ name: String, _ count: Int) throws(DiffError) -> Tensor {
        try load(name, accepting: [wanted([count], for: name)], widening: true)
    }

    // MARK: Fusing

    /// The tensors `names`, each of extents `dims`, stacked along the first axis in one block: `[names * dims[0],
    /// ...]`.
    ///
    /// For projections stored apart that are computed as one (`to_q`, `to_k`, `to_v`). The element type is that of
    /// the file when all parts share it, else f32.
    public func concatenated(_ names: [String], _ dims: [Int]) throws(DiffError) -> Tensor {
        try stacked(names, dims, widening: options.widens)
    }

    /// The vectors `names` of `count` elements each, one after the other, in f32.
    public func concatenatedVectors(_ names: [String], _ count: Int) throws(DiffError) -> Tensor {
        try stacked(names, [count], widening: true)
    }

    /// The matrices `names` of `columns`, stacked by rows, of which each has its own number: vectors that meet layers of many widths
    /// meet them as one.
    public func concatenated(_ names: [String], rows: [Int], columns: Int) throws(DiffError) -> Tensor {
        try stacked(names, [1, columns], rows: rows, widening: options.widens)
    }

    /// The vectors `names` of `counts` elements, one after the other, in f32.
    public func concatenatedVectors(_ names: [String], counts: [Int]) throws(DiffError) -> Tensor {
        try stacked(names, [1], rows: counts, widening: true)
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
        staging.clear()
        updating.clear()
        try report.finish(table, allowingUnused: allowingUnused)
    }
}

extension Checkpoint {
    /// The outermost scope over the checkpoint's tensors, with a report of its own.
    public func weights(_ options: Weights.Options = Weights.Options()) -> Weights {
        Weights(tensors, options: options)
    }
}

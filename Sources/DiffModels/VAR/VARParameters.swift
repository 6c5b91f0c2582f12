import DiffCheckpoint
import DiffTensor

// What a VAR works out from its parameters before it uses them: once when it is loaded for sampling, again in every pass when it
// is loaded for learning, so that gradients find their way back.

/// Level and position vectors of the tokens, and that of the start.
struct VARPositions: Sendable {
    private enum Source: Sendable {
        /// Sums for all tokens [tokens, width], and with the start's vector for the first [1, width].
        case sums(all: Tensor, first: Tensor)
        /// start [1, width], positions [tokens, width], levels [scales, width].
        case parts(start: Tensor, absolute: Tensor, levels: Tensor)
    }

    private var source: Source
    private let schedule: ScaleSchedule
    private let learns: Bool
    private let budget: MemoryBudget?

    init(_ w: Weights, _ c: VARConfiguration) throws(DiffError) {
        let start = try w.tensor("pos_start", [1, 1, c.width]).reshaped(Shape(1, c.width))
        let absolute = try w.tensor("pos_1LC", [1, c.schedule.tokens, c.width])
        source = .parts(
            start: start, absolute: try absolute.reshaped(Shape(c.schedule.tokens, c.width)),
            levels: try w.tensor("lvl_embed.weight", [c.schedule.count, c.width]))
        (schedule, learns, budget) = (c.schedule, w.options.parameters != nil, w.options.budget)
    }

    /// The same after the check of the weights, made ready for sampling unless they were loaded for learning: a config that does not
    /// fit its tensors must not make us compute tables.
    func prepared() throws(DiffError) -> VARPositions {
        guard !learns, case .parts(let start, let absolute, let levels) = source else { return self }
        var prepared = self
        prepared.source = try sums(start, absolute, levels)
        return prepared
    }

    private func sums(_ start: Tensor, _ absolute: Tensor, _ levels: Tensor) throws(DiffError) -> Source {
        let width = start.shape.last
        let out = try Tensor(uninitialized: absolute.shape, budget: budget)
        let first = try Tensor(uninitialized: start.shape, budget: budget)
        let (start, absolute) = (try start.widened(budget: nil), try absolute.widened(budget: nil))
        let levels = try levels.widened(budget: nil)
        guard let to = unsafe out.floats, let p = unsafe absolute.floats, let l = unsafe levels.floats,
            let s = unsafe start.floats, let f = unsafe first.floats
        else { return .sums(all: out, first: first) }
        for scale in Indices(below: schedule.count) {
            for token in Indices(below: schedule.length(scale)) {
                let at = (schedule.offset(scale) &+ token) &* width
                for i in Indices(below: width) { unsafe to[at &+ i] = l[scale &* width &+ i] + p[at &+ i] }
            }
        }
        for i in Indices(below: width) { unsafe f[i] = s[i] + to[i] }
        return .sums(all: out, first: first)
    }

    /// What is added to the first token: [1, width].
    func first(_ run: Run) throws(DiffError) -> Tensor {
        switch source {
        case .sums(_, let first): return first
        case .parts(let start, _, _): return try run.add(start, table(0, 1, run))
        }
    }

    /// What is added to the `count` tokens from number `position` on: [count, width].
    func table(_ position: Int, _ count: Int, _ run: Run) throws(DiffError) -> Tensor {
        switch source {
        case .sums(let all, _): return try all.rows(position, count)
        case .parts(_, let absolute, let levels):
            return try run.add(run.embedding(levels, schedule.levels(position, count)), absolute.rows(position, count))
        }
    }
}

/// What queries are multiplied by after they were divided by their length: exp(min(stored, ln 100)) for each head.
enum VARQueryScales: Sendable {
    case values(Tensor)
    /// As stored.
    case logarithms(Tensor)

    private static var bound: Float { Float(100).logarithm }

    init(_ w: Weights, heads: Int) throws(DiffError) {
        let stored = try w.tensor("scale_mul_1H11", [1, heads, 1, 1])
        if w.options.parameters != nil {
            self = .logarithms(stored)
        } else {
            let wide = try stored.widened(budget: w.options.budget)
            let values = wide.array.map { min($0, Self.bound).exponential }
            let isVirtual = values.count != heads
            self = .values(isVirtual ? wide : try Tensor(values, Shape(heads), budget: w.options.budget))
        }
    }

    /// [heads]
    func callAsFunction(_ run: Run) throws(DiffError) -> Tensor {
        switch self {
        case .values(let values): values
        case .logarithms(let stored): try run.cappedExponentials(stored, bound: Self.bound)
        }
    }
}

/// Queries, keys and values of a block. The keys' bias is a buffer of zeros in the published code: it is read, and never learned.
enum VARProjection: Sendable {
    case whole(Linear)
    /// The biases apart, [width] each.
    case parts(WeightMatrix, query: Tensor, key: Tensor, value: Tensor)

    init(_ w: Weights, width: Int) throws(DiffError) {
        let weight = try w.packed("mat_qkv.weight", [3 &* width, width])
        let names = ["q_bias", "zero_k_bias", "v_bias"]
        if w.options.parameters != nil {
            self = .parts(
                weight, query: try w.vector(names[0], width), key: try w.vector(names[1], width),
                value: try w.vector(names[2], width))
        } else {
            self = .whole(Linear(weight: weight, bias: try w.concatenatedVectors(names, width)))
        }
    }

    /// [rows, tokens, 3 · width] of `x` [rows, tokens, width].
    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        switch self {
        case .whole(let layer): return try layer(x, run)
        case .parts(let weight, let query, let key, let value):
            let one = try Shape(1, 1, query.shape.count)
            let front = try run.joinedTokens(query.reshaped(one), key.reshaped(one))
            let bias = try run.joinedTokens(front, value.reshaped(one))
            return try run.linear(x, weight, bias: bias.reshaped(Shape(bias.shape.count)))
        }
    }
}

/// A layer of class vectors. Those of all classes of a run are the rows of one matrix: its weights, a third of the network's, are
/// then read once for them all, and from where they lie ready for that.
struct VARVectors: Sendable {
    private let layer: Linear

    init(_ w: Weights, width: Int, groups: Int) throws(DiffError) {
        layer = try Linear(w, width, groups &* width, of: .tokens)
    }

    /// [classes, groups · width] of `condition` [classes, width].
    func callAsFunction(_ condition: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let (classes, width) = (condition.shape[0], condition.shape.last)
        let rows = try layer(condition.reshaped(Shape(1, classes, width)), run)
        return try rows.reshaped(Shape(classes, rows.shape.last))
    }
}

/// Where a block's six vectors come from.
enum VARModulation: Sendable {
    /// A layer of the block's own.
    case own(VARVectors)
    /// One layer of the network, plus vectors of the block's own [6 · width].
    case shared(Tensor)

    init(_ w: Weights, _ c: VARConfiguration) throws(DiffError) {
        if c.sharesModulation {
            let table = try w.tensor("ada_gss", [1, 1, 6, c.width]).widened(budget: w.options.budget)
            self = .shared(try table.reshaped(Shape(6 &* c.width)))
        } else {
            self = .own(try VARVectors(w.scope("ada_lin.1"), width: c.width, groups: 6))
        }
    }

    func callAsFunction(_ condition: Tensor, _ shared: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        switch self {
        case .own(let layer): return try layer(condition, run)
        case .shared(let table):
            guard let shared else { throw DiffError(.internal, "a shared modulation without its layer") }
            return try run.addTable(shared, table)
        }
    }
}

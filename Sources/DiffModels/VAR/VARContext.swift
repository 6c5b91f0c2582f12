public import DiffTensor

/// The VAR context of one run: keys and values of the tokens so far, and the vectors that depend on the classes alone.
///
/// Those are computed once per class and block, not once per scale: the modulation layers are a third of a block's weights.
/// Used by one thread.
public final class VARContext {
    private let network: VAR
    /// A label for each row.
    public let labels: [Int]
    private let capacity: Int
    private let remembers: Bool
    private let unique: [Int]
    /// Which of the unique labels each row has.
    private let rowLabels: [Int]
    /// Tokens of each row that were evaluated.
    public private(set) var position = 0
    private var buffers: [KeyValueBuffer?]
    private var vectors: [Tensor?]
    private var condition, shared, head: Tensor?

    /// A context for rows of these labels, with room for `capacity` tokens each. Memory is taken when it is needed.
    public convenience init(_ network: VAR, labels: [Int], capacity: Int) {
        self.init(network, labels: labels, capacity: capacity, remembers: true)
    }

    /// A context that, unless it `remembers`, is good for one pass over all tokens: no keys and values are kept.
    init(_ network: VAR, labels: [Int], capacity: Int, remembers: Bool) {
        (self.network, self.labels, self.capacity, self.remembers) = (network, labels, capacity, remembers)
        var order: [Int: Int] = [:]
        var unique: [Int] = []
        rowLabels = labels.map { label in
            // A single pass takes the same memory whatever the labels are: what a step of learning needs is known before it.
            if remembers, let index = order[label] { return index }
            order.put(unique.count, for: label)
            unique.append(label)
            return unique.count &- 1
        }
        self.unique = unique
        buffers = Array(repeating: nil, count: network.blocks.count)
        vectors = Array(repeating: nil, count: network.blocks.count)
    }

    /// Runs the blocks over the tokens `x` [rows, n, width] that follow those evaluated before and end with scale `end - 1`. Gives the
    /// outputs of the tokens of scale `wanted` and later ones, [rows, m, width].
    ///
    /// Several scales at once see what they would see one after the other. In the last block only keys and values are computed
    /// of tokens whose outputs are not wanted.
    public func advance(_ x: Tensor, through end: Int, wanting wanted: Int, _ run: Run) throws(DiffError) -> Tensor {
        let schedule = network.configuration.schedule
        guard let start = schedule.scales(in: position), end > start, end <= schedule.count, wanted < end,
            remembers || (position == 0 && wanted == 0),
            x.shape.rank == 3, x.shape[0] == labels.count, x.shape[1] == schedule.offset(end) &- position,
            schedule.offset(end) <= capacity
        else { throw DiffError(.internal, "tokens \(x.shape) after \(position) cannot end with scale \(end)") }
        let first = max(0, schedule.offset(max(wanted, start)) &- position)
        let (all, some) = (schedule.spans(start..<end, from: start), schedule.spans(start..<end, from: wanted))
        var h = x
        let indices = run.blocks(network.layout.blocks)
        for (order, index) in indices.numbered {
            guard let block = network.blocks.at(index) else { continue }
            let isLast = order == indices.count &- 1
            let pass = VARPass(
                vectors: try blockVectors(index, block, run),
                buffer: { [self] () throws(DiffError) in remembers ? try buffer(index, run) : nil }, position: position,
                firstOutput: isLast ? first : 0, spans: isLast ? some : all)
            h = try block(h, pass, run)
        }
        position = schedule.offset(end)
        return h
    }

    /// Keys and values of block `index`, [rows, capacity, width] each; nil before the first pass.
    public func buffer(ofBlock index: Int) -> KeyValueBuffer? { buffers.at(index) ?? nil }

    private func buffer(_ index: Int, _ run: Run) throws(DiffError) -> KeyValueBuffer {
        if let known = buffer(ofBlock: index) { return known }
        let buffer = try KeyValueBuffer(
            batch: labels.count, capacity: capacity, width: network.configuration.width, run)
        buffers.put(buffer, at: index)
        return buffer
    }

    private func blockVectors(_ index: Int, _ block: VARBlock, _ run: Run) throws(DiffError) -> Tensor {
        if let known = vectors.at(index) ?? nil { return known }
        let made = try spread(block.vectors(conditions(run), shared: sharedVectors(run), run), run)
        vectors.put(made, at: index)
        return made
    }

    /// Scale and shift of the head's norm, [rows, 2 · width].
    func headVectors(_ run: Run) throws(DiffError) -> Tensor {
        if let head { return head }
        let made = try spread(network.headModulation(conditions(run), run), run)
        head = made
        return made
    }

    private func conditions(_ run: Run) throws(DiffError) -> Tensor {
        if let condition { return condition }
        let made = try network.condition(unique, run)
        condition = made
        return made
    }

    private func sharedVectors(_ run: Run) throws(DiffError) -> Tensor? {
        guard shared == nil, let layer = network.sharedModulation else { return shared }
        shared = try layer(conditions(run), run)
        return shared
    }

    /// One row for each label out of one for each class.
    private func spread(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        unique.count == labels.count ? x : try run.embedding(x, rowLabels)
    }
}

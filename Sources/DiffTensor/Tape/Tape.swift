/// What the ops of one pass leave behind so that gradients can be computed: reverse-mode differentiation over coarse ops.
///
/// An op that meets a tracked tensor records how a gradient of its result becomes gradients of its inputs. ``backward(_:)``
/// plays the records from the last to the first; each is dropped once played, and with it the activations it kept.
/// Used by one thread, with one run.
public final class Tape {
    /// Turns the gradient of a result into those of the inputs, by `target`, `pass` and `give` of the run's tape.
    public typealias Backward = (Tensor, Run) throws(DiffError) -> Void
    /// A part of a network that may be computed again.
    public typealias Segment = () throws(DiffError) -> Tensor

    private struct Entry {
        let node: Int
        let shape: Shape
        let backward: Backward
    }

    /// The gradient of a node so far. A tensor that another node refers to as well is not owned and never written.
    private struct Slot {
        var gradient: Tensor?
        var isOwned = false
    }

    /// Gradients of the parameters; they outlive the tape.
    public let parameters: ParameterGradients
    /// Whether segments keep their input only and are computed again in the backward pass.
    public let recomputes: Bool
    private var isRecomputing = false
    private var entries: [Entry] = []
    private var slots: [Slot] = []

    /// An empty tape over `parameters`.
    public init(_ parameters: ParameterGradients, recomputes: Bool = false) {
        (self.parameters, self.recomputes) = (parameters, recomputes)
    }

    /// `output` as the result of an op, with its way back.
    func record(_ output: Tensor, _ backward: @escaping Backward) -> Tensor {
        let node = parameters.count &+ slots.count
        slots.append(Slot())
        entries.append(Entry(node: node, shape: output.shape, backward: backward))
        return output.tracked(as: node)
    }

    // MARK: Segments

    /// Whether a segment that starts now is to be computed again later.
    var startsSegments: Bool { recomputes && !isRecomputing }

    /// What `compute` gives, remembered by `compute` itself instead of by the records of its ops. `compute` is called once
    /// more in the backward pass and must give the same then.
    func segment(_ compute: @escaping Segment) throws(DiffError) -> Tensor {
        let (entriesBefore, slotsBefore) = (entries.count, slots.count)
        let output = try compute()
        guard output.isTracked, entries.count > entriesBefore else { return output }
        drop(entriesBefore, slotsBefore)
        return record(output.detached) { (gradient, run) throws(DiffError) in
            guard let tape = run.tape else { return }
            try tape.playAgain(compute, gradient, run)
        }
    }

    private func playAgain(_ compute: Segment, _ gradient: Tensor, _ run: Run) throws(DiffError) {
        let (entriesBefore, slotsBefore) = (entries.count, slots.count)
        isRecomputing = true
        defer { isRecomputing = false }
        let output = try compute()
        try pass(gradient, to: output, run)
        try play(downTo: entriesBefore, run)
        drop(entriesBefore, slotsBefore)
    }

    /// Forgets all records.
    func clear() { drop(0, 0) }

    @inline(never)
    private func drop(_ entriesKept: Int, _ slotsKept: Int) {
        while entries.count > max(0, entriesKept), entries.popLast() != nil {}
        while slots.count > max(0, slotsKept), slots.popLast() != nil {}
    }

    // MARK: Backward

    /// Plays all records. The gradients to start from were given by ``pass(_:to:_:)``. Throws `cancelled` and memory errors;
    /// the tape is empty afterwards in any case.
    public func backward(_ run: Run) throws(DiffError) {
        defer { drop(0, 0) }
        try play(downTo: 0, run)
    }

    private func play(downTo kept: Int, _ run: Run) throws(DiffError) {
        while entries.count > max(0, kept), let entry = entries.popLast() {
            guard let slot = slots.at(entry.node &- parameters.count), let gradient = slot.gradient else { continue }
            slots.put(Slot(), at: entry.node &- parameters.count)
            try run.checkCancel()
            try entry.backward(gradient.reshaped(entry.shape), run)
        }
    }

    // MARK: Giving gradients

    /// Adds `gradient` to that of `tensor`. It may be kept as it is and must not be written to afterwards.
    public func pass(_ gradient: Tensor, to tensor: Tensor, _ run: Run) throws(DiffError) {
        try accept(gradient, for: tensor, owned: false, run)
    }

    /// The same with a gradient made for this call alone.
    func give(_ gradient: Tensor, to tensor: Tensor, _ run: Run) throws(DiffError) {
        try accept(gradient, for: tensor, owned: true, run)
    }

    private func accept(_ gradient: Tensor, for tensor: Tensor, owned: Bool, _ run: Run) throws(DiffError) {
        guard let tracking = tensor.tracking else { return }
        guard gradient.shape.count == tensor.shape.count else {
            throw DiffError(.internal, "a gradient of \(gradient.shape) for a tensor of \(tensor.shape)")
        }
        let position = tracking.node &- parameters.count
        if let slot = slots.at(position), slot.gradient == nil, tensor.shape.count == tracking.count {
            slots.put(Slot(gradient: gradient.detached, isOwned: owned), at: position)
            return
        }
        let sum = try target(for: tensor, run)
        guard let sum else { return }
        if sum.accumulates {
            run.addInPlace(gradient, to: sum.tensor)
        } else {
            run.copyElements(gradient, to: sum.tensor)
        }
    }

    /// Where an op writes or adds the gradient of `tensor`, in its shape; nil when it is not asked for.
    func target(for tensor: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, accumulates: Bool)? {
        guard let tracking = tensor.tracking else { return nil }
        let isWhole = tensor.shape.count == tracking.count
        let position = tracking.node &- parameters.count
        if position < 0 {
            return try parameters.target(tracking, tensor.shape, isWhole: isWhole, run)
        }
        guard let slot = slots.at(position) else {
            throw DiffError(.internal, "a tensor of an earlier pass meets the tape of this one")
        }
        let whole: Tensor
        if let gradient = slot.gradient {
            whole = slot.isOwned ? gradient : try run.copy(gradient)
        } else {
            whole = try run.workspace.take(Shape(tracking.count))
            if !isWhole { run.fillZero(whole) }
        }
        slots.put(Slot(gradient: whole, isOwned: true), at: position)
        let part = try Tensor(whole.storage, tensor.shape, .f32, offset: whole.offset &+ tracking.start)
        return (part, slot.gradient != nil || !isWhole)
    }

    /// For ops that add on the way: `out` becomes the gradient of all of `tensor`, and has to hold what is computed plus `add`.
    func sum(for tensor: Tensor, _ run: Run) throws(DiffError) -> (add: Tensor?, out: Tensor)? {
        guard let tracking = tensor.tracking else { return nil }
        let position = tracking.node &- parameters.count
        guard let slot = slots.at(position), tensor.shape.count == tracking.count, !slot.isOwned else {
            guard let target = try target(for: tensor, run) else { return nil }
            return (target.accumulates ? target.tensor : nil, target.tensor)
        }
        let out = try run.workspace.take(tensor.shape)
        slots.put(Slot(gradient: out, isOwned: true), at: position)
        return (slot.gradient, out)
    }

    /// Where gradients are added to zero or to what is there.
    func accumulator(for tensor: Tensor, _ run: Run) throws(DiffError) -> Tensor? {
        guard let target = try target(for: tensor, run) else { return nil }
        if !target.accumulates { run.fillZero(target.tensor) }
        return target.tensor
    }
}

public import DiffTensor

/// A network that samplers call with prompts: from a noisy state, a time and a conditioning to a prediction. The state may have any size.
///
/// One conformance per architecture; immutable, any number of runs may use one at once.
public protocol ConditionedDenoiser: AnyObject, Sendable {
    /// Sites by module path.
    var layout: SiteLayout { get }
    /// Channels of what it is given: those of the state, and for in-painting those of a mask and of what is masked after them.
    var channels: Int { get }
    /// Channels of the prediction.
    var predictedChannels: Int { get }
    /// Side of the square state that it was trained on.
    var side: Int { get }
    /// What the sides of a state must be multiples of; others are refused.
    var sideMultiple: Int { get }
    /// The largest side that it takes; nil: any.
    var maxSide: Int? { get }
    /// Width of ``Conditioning/states``; 0: it reads none.
    var textWidth: Int { get }
    /// Width of ``Conditioning/secondStates``; nil: it reads none.
    var secondTextWidth: Int? { get }
    /// Width of ``Conditioning/pooled``; nil: it takes none.
    var pooledWidth: Int? { get }
    /// Whether it is told ``Conditioning/sizes``.
    var takesSizes: Bool { get }
    /// Whether it is told ``Conditioning/guidance``.
    var takesGuidance: Bool { get }

    /// What no step changes of `conditioning`, whose tensors must have the widths above; made once before the first step. Throws `shape`.
    func prepare(_ conditioning: Conditioning, _ run: Run) throws(DiffError) -> PreparedConditioning

    /// The prediction [n, predictedChannels, h, w] for `x` [n, channels, h, w] at the times `t` [n].
    func callAsFunction(
        _ x: Tensor, t: Tensor, _ conditioning: PreparedConditioning, _ run: Run
    ) throws(DiffError) -> Tensor
}

extension ConditionedDenoiser {
    /// None.
    public var secondTextWidth: Int? { nil }

    /// One prediction for a sample of the size that it was trained on, told a prompt of CLIP's length: for facts, by a dry run.
    public func evaluate(dry run: Run) throws(DiffError) {
        var told = Conditioning(states: try run.workspace.take(Shape(1, 77, max(1, textWidth))))
        if let secondTextWidth { told.secondStates = try run.workspace.take(Shape(1, 77, secondTextWidth)) }
        if let pooledWidth { told.pooled = try run.workspace.take(Shape(1, pooledWidth)) }
        if takesSizes { told.sizes = try run.workspace.take(Shape(1, 6)) }
        if takesGuidance { told.guidance = try run.filled(1, with: 0) }
        let prepared = try prepare(told, run.withoutAcceleration())
        let x = try run.workspace.take(Shape(1, channels, side, side))
        _ = try self(x, t: run.filled(1, with: 0), prepared, run)
    }
}

/// One network call as the sampler means it: where in the run it stands. Methods read it; they never count calls.
public struct Call: Sendable, Equatable {
    /// Which of the session's networks runs.
    public var network = 0
    /// The time the network embeds. A method may change it; the sampler's own time is not affected.
    public var time: Float
    /// Which evaluation of the network within this call: methods that evaluate it more than once count here.
    public var pass = 0
    /// Number of this call within its lane, and how many the lane will make at most.
    public let index: Int, count: Int
    /// Sampler step (0 is the first one executed, the noisiest) and evaluation inside the step.
    public let step: Int, stage: Int
    /// State slot: 0 when guidance branches share one batch; 0 (conditional) and 1 (unconditional) when they run separately. What a
    /// method keeps of one lane is never used in another.
    public private(set) var lane: Int

    /// A call of the first network.
    public init(time: Float, index: Int, count: Int, step: Int, stage: Int = 0, lane: Int = 0) {
        self.time = time
        (self.index, self.count, self.step, self.stage, self.lane) = (index, count, step, stage, lane)
    }

    /// The same call in another lane.
    public func inLane(_ lane: Int) -> Call {
        var call = self
        call.lane = lane
        return call
    }
}

/// The blocks that run, ascending and without repetition unless a method says otherwise.
public struct BlockPlan: Sendable, Equatable {
    /// Positions in the block list.
    public var indices: [Int]
}

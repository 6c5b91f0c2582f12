import DiffTensor

/// Where one sample of Dream stands: its blocks, its steps, and how many positions a step reveals.
///
/// Without blocks the whole sequence is one, and every step is of it. With blocks every position that is to be filled is in one of them,
/// and the steps follow a schedule of the block's own.
struct DreamPace {
    /// Whether the text is decoded block by block.
    let hasBlocks: Bool
    private let blocks: [Range<Int>]
    private let options: DreamOptions
    private var index = 0
    private(set) var stepInBlock = 0
    /// Steps of the block, and the schedule's times at their beginnings and at the end.
    private var steps = 0
    private var times: [Float] = []
    /// Under a threshold without blocks: positions that a step reveals at most, those that steps before it left included.
    private var rate: Int?
    private var left = 0

    init(_ prompt: MaskedPrompt, _ options: DreamOptions) {
        self.options = options
        hasBlocks = options.hasBlocks
        let all = Checked.sum(prompt.tokens.count, options.common.length)
        blocks = hasBlocks ? options.common.blocks(prompt, of: options.blockLength, always: true) : [0..<max(0, all)]
    }

    var isDone: Bool { index >= blocks.count }
    var block: Range<Int> { blocks.at(index) ?? 0..<0 }
    private var isLast: Bool { stepInBlock >= steps &- 1 }

    /// Begins a block with `masks` masked positions.
    mutating func begin(masks: Int) {
        steps =
            options.steps.map { max(1, $0 / max(1, blocks.count)) } ?? (options.threshold == nil ? max(1, masks) : 1)
        times = options.threshold == nil ? options.timesteps(steps) : []
        (rate, left) = (hasBlocks || options.threshold == nil ? nil : masks / max(1, steps), 0)
    }

    /// The share of masked positions that this step reveals, 1 - s / t in f32 as torch computes it; nil in the last step, which reveals all.
    var share: Float? {
        guard !isLast, let t = times.at(stepInBlock), let s = times.at(stepInBlock &+ 1) else { return nil }
        return 1 - s / t
    }

    /// How many of `masks` masked positions this step reveals. The product is rounded to f32 and then down, of the masks there are now and not
    /// of a plan made beforehand. So the first step reveals nothing when there are as many steps as masks (n (1 - eps) / n is below 1), and the
    /// last one makes up for it.
    func count(of masks: Int) -> Int {
        guard let share else { return masks }
        return Int(exactly: max(0, Float(masks) * share).rounded(.down)) ?? masks
    }

    /// The most positions that this step reveals under a threshold; nil: no bound.
    var bound: Int? { rate.map { Checked.sum($0, left) } }

    /// Closes a step that revealed `revealed` positions and left `masks` in the block. `advances`: one of them got a token other than the
    /// mask.
    mutating func advance(masks: Int, advances: Bool, revealed: Int) {
        let isComplete: Bool
        if let bound {
            left = max(0, bound &- revealed)
            // Past the even rate one step follows another until nothing is left over.
            if isLast, left > 0 { (rate, steps) = (0, steps &+ 1) }
            isComplete = stepInBlock &+ 1 >= steps
        } else if options.threshold != nil {
            isComplete = masks == 0 || !advances
        } else {
            isComplete = (hasBlocks && masks == 0) || stepInBlock &+ 1 >= steps
        }
        stepInBlock &+= 1
        if isComplete { (index, stepInBlock) = (index &+ 1, 0) }
    }
}

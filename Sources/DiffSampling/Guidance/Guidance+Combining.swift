public import DiffTensor

extension Guidance {
    /// What `c` and `u`, the conditional and the unconditional prediction, of one shape [n, ...], become at `step` of `steps`; `c` itself
    /// where there
    /// is no guidance.
    ///
    /// `elements` is the number of elements of a sample's prediction where something else follows it (nil: all): only they are rescaled.
    /// Throws `shape` when the predictions do not have the channels or frames.
    public func combined(
        _ c: Tensor, _ u: Tensor, step: Int = 0, of steps: Int = 1, elements: Int? = nil, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let scale = scale(at: step, of: steps) else { return c }
        switch formula {
        case .extrapolated: return try run.combine(Float(1 + scale), c, Float(-scale), u)
        case .added:
            // Rounded after each operation as torch does.
            return try run.combine(1, u, Float(scale + 1), run.combine(1, c, -1, u))
        case .scaled:
            let guided = try run.guided(c, u, scales: planes(c.shape, step: step, of: steps))
            guard rescale > 0 else { return guided }
            let size = c.shape.count / max(1, c.shape[0])
            guard !ramp.isOverFrames || elements ?? size == size else {
                throw DiffError(.shape, "frames with a variance cannot be rescaled: \(c.shape)")
            }
            return try run.rescaled(guided, like: c, share: Float(rescale), elements: elements ?? size)
        }
    }

    /// Both halves [2n, ...] of official codes at a step: `guided`, then `u` with the guided channels.
    func bothHalves(
        _ guided: Tensor, _ u: Tensor, step: Int, of steps: Int, _ run: Run
    ) throws(DiffError) -> Tensor {
        try run.guidedHalves(guided, u, scales: planes(u.shape, step: step, of: steps))
    }

    /// The scale of each plane of a sample at a step; nil: not guided.
    private func planes(_ shape: Shape, step: Int, of steps: Int) throws(DiffError) -> [Float?] {
        func ramped(_ scale: Double) -> Float {
            guard let factor = ramp.factor(at: step, of: steps) else { return Float(scale) }
            return Float(formula.neutral + (scale - formula.neutral) * factor)
        }
        if !ramp.isOverFrames, channels == .all { return [ramped(scale)] }
        let (frames, count) = try Self.planes(shape)
        guard !ramp.isOverFrames || shape.rank == 5 else {
            throw DiffError(.shape, "scales of frames need [n, frames, channels, h, w], found \(shape)")
        }
        var planes: [Float?] = []
        for frame in Indices(below: frames) {
            let scale = frameScale(frame, of: frames)
            for channel in Indices(below: count) {
                switch channels {
                case .all: planes.append(ramped(scale))
                case .leading(let leading): planes.append(channel < leading ? ramped(scale) : nil)
                case .scales(let scales): planes.append(scales.at(channel).map(ramped))
                }
            }
        }
        let most =
            if case .scales(let scales) = channels { scales.count } else if case .leading(let n) = channels { n } else {
                0
            }
        guard most <= count else { throw DiffError(.shape, "guidance of \(most) channels of a \(shape) tensor") }
        return planes
    }

    /// Frames and channels of predictions.
    private static func planes(_ shape: Shape) throws(DiffError) -> (frames: Int, channels: Int) {
        switch shape.rank {
        case 3, 4: (1, shape[1])
        case 5: (shape[1], shape[2])
        default: throw DiffError(.shape, "guidance of channels or frames of a \(shape) tensor")
        }
    }

    /// The scale of a frame.
    private func frameScale(_ frame: Int, of frames: Int) -> Double {
        guard case .frames(let first) = ramp else { return scale }
        return frames > 1 ? first + (scale - first) * Double(frame) / Double(frames &- 1) : first
    }
}

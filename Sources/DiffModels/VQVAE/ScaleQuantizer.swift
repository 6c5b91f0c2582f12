import DiffCheckpoint
public import DiffTensor

/// The codebook of a multi-scale VQ-VAE, and how the maps of all scales add up to one image in code space.
///
/// The state is the sum of what the scales contributed so far, [batch, channels, S, S] with S the side of the finest scale.
/// Source: `VectorQuantizer2` of FoundationVision/VAR.
public struct ScaleQuantizer: Sendable {
    /// Codes [vocabulary, channels] in f32.
    private let codes: Tensor
    /// What features are compared with, and the squared lengths of its rows: the codes, or their directions and no lengths.
    private let searched, norms: Tensor
    /// [channels, vocabulary]: for mixtures of codes.
    private let mixing: WeightMatrix
    private let convolutions: BlendedConvolutions
    /// The scales.
    public let schedule: ScaleSchedule

    init(_ w: Weights, _ c: VQVAEConfiguration, _ schedule: ScaleSchedule) throws(DiffError) {
        let budget = w.options.budget
        codes = try w.tensor("embedding.weight", [c.vocabulary, c.codeChannels]).widened(budget: budget)
        norms = try Tensor(uninitialized: Shape(c.vocabulary), budget: budget)
        let transposed = try Tensor(uninitialized: Shape(c.codeChannels, c.vocabulary), budget: budget)
        searched = c.comparesDirections ? try Tensor(uninitialized: codes.shape, budget: budget) : codes
        if let from = unsafe codes.floats, let squares = unsafe norms.floats, let to = unsafe transposed.floats {
            for code in Indices(below: c.vocabulary) {
                var sum: Float = 0
                for channel in Indices(below: c.codeChannels) {
                    let value = unsafe from[code &* c.codeChannels &+ channel]
                    sum += value * value
                    unsafe to[channel &* c.vocabulary &+ code] = value
                }
                unsafe squares[code] = c.comparesDirections ? 0 : sum
                guard c.comparesDirections, let directions = unsafe searched.floats else { continue }
                let length = max(sum.squareRoot(), 1e-12)
                for channel in Indices(below: c.codeChannels) {
                    let at = code &* c.codeChannels &+ channel
                    unsafe directions[at] = from[at] / length
                }
            }
        }
        mixing = try WeightMatrix(transposed)
        convolutions = try BlendedConvolutions(w, c, scales: schedule.count)
        w.markUsed(prefix: "ema_vocab_hit_SV")
        self.schedule = schedule
    }

    /// The same codebook for other scales.
    init(_ other: ScaleQuantizer, _ schedule: ScaleSchedule) {
        (codes, searched, norms) = (other.codes, other.searched, other.norms)
        (mixing, convolutions) = (other.mixing, other.convolutions)
        self.schedule = schedule
    }

    /// Whether `other` has the same codes, up to the rounding of narrow element types.
    public func hasCodes(of other: ScaleQuantizer) -> Bool {
        guard codes.shape == other.codes.shape, let a = unsafe codes.floats, let b = unsafe other.codes.floats else {
            return false
        }
        return Indices(below: codes.shape.count).allSatisfy {
            let (x, y) = unsafe (a[$0], b[$0])
            return abs(x - y) <= 0.01 * max(abs(x), abs(y))
        }
    }

    /// Number of codes.
    public var vocabulary: Int { codes.shape[0] }
    /// Channels of a code.
    public var channels: Int { codes.shape[1] }

    /// The map of `scale` with these codes, samples one after the other, row by row: [batch, channels, side, side]. Throws
    /// `invalidArgument` for a token that is no code.
    public func map(_ tokens: [Int], scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        let side = schedule.side(scale)
        let batch = tokens.count / max(1, side &* side)
        let rows = try run.embedding(codes, tokens)
        return try planes(rows.reshaped(Shape(batch, side &* side, channels)), side, run)
    }

    /// The map of mixtures of codes, `weights` [batch, side², vocabulary].
    public func map(mixing weights: Tensor, scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        try planes(run.linear(weights, mixing, bias: nil), schedule.side(scale), run)
    }

    private func planes(_ rows: Tensor, _ side: Int, _ run: Run) throws(DiffError) -> Tensor {
        try run.transposed(rows).reshaped(Shape(rows.shape[0], channels, side, side))
    }

    /// What `map` of `scale` adds to the state: enlarged to the finest side, then smoothed.
    public func contribution(_ map: Tensor, scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        let isLast = scale == schedule.count &- 1
        let enlarged = isLast ? map : try run.resampledBicubic(map, side: schedule.finest)
        return try convolutions(enlarged, scale: scale, of: schedule.count, run)
    }

    /// The state as scale `scale` gets to see it: [batch, channels, side, side].
    public func view(_ state: Tensor, at scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        let side = schedule.side(scale)
        return side == state.shape[2] ? state : try run.resampledArea(state, side: side)
    }

    /// A view as rows of codes [batch, side², channels]: what a transformer embeds.
    public func rows(_ view: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.transposed(view.reshaped(Shape(view.shape[0], channels, view.shape[2] &* view.shape[3])))
    }

    /// The state after every scale, given the tokens of all scales [scale][batch · side²]; and the tokens again.
    public func states(_ tokens: [[Int]], _ run: Run) throws(DiffError) -> [Tensor] {
        var states: [Tensor] = []
        for (scale, codes) in tokens.numbered {
            let added = try contribution(map(codes, scale: scale, run), scale: scale, run)
            states.append(try states.last.map { (state) throws(DiffError) in try run.add(state, added) } ?? added)
        }
        return states
    }

    /// Tokens of all scales, coarse to fine, whose states come nearest to `features` [batch, channels, S, S] step by step, with
    /// the state after each. Throws `notFinite` for features or codes that are not.
    public func encode(_ features: Tensor, _ run: Run) throws(DiffError) -> (tokens: [[Int]], states: [Tensor]) {
        guard features.shape.rank == 4, features.shape[1] == channels, features.shape[2] == schedule.finest,
            features.shape[3] == schedule.finest
        else {
            throw DiffError(
                .shape,
                "features \(features.shape), expected [batch, \(channels), \(schedule.finest), "
                    + "\(schedule.finest)]")
        }
        // What is nearest to NaN is the first code.
        try run.requireFinite(features, "the encoder's features (the encoder's weights, or the image)")
        var rest = features
        var tokens: [[Int]] = []
        var states: [Tensor] = []
        for scale in Indices(below: schedule.count) {
            let found = try run.nearestRows(rows(view(rest, at: scale, run), run), in: searched, norms: norms)
            let added = try contribution(map(found, scale: scale, run), scale: scale, run)
            rest = try run.combine(1, rest, -1, added)
            states.append(try states.last.map { (state) throws(DiffError) in try run.add(state, added) } ?? added)
            tokens.append(found)
        }
        if let last = states.last { try run.requireFinite(last, "the picture in code space (the codes of the VQ-VAE)") }
        return (tokens, states)
    }

    /// A transformer's input in teacher forcing: views of the states for scale 1 and on, [batch, tokens - 1, channels].
    public func teacherCodes(_ states: [Tensor], _ run: Run) throws(DiffError) -> Tensor {
        guard let first = states.first, states.count <= schedule.count else {
            throw DiffError(.shape, "\(states.count) states for \(schedule.count) scales")
        }
        let last = min(states.count, schedule.count &- 1)
        let out = try run.workspace.take(Shape(first.shape[0], schedule.offset(last &+ 1) &- 1, channels))
        for scale in Indices(below: last) {
            guard let state = states.at(scale) else { continue }
            try run.storeTokens(
                rows(view(state, at: scale &+ 1, run), run), in: out, at: schedule.offset(scale &+ 1) &- 1)
        }
        return out
    }
}

public import DiffCheckpoint
public import DiffTensor

/// Sizes of AudioLDM2's projection, under the names of `AudioLDM2ProjectionModel`.
public struct AudioProjectionConfiguration: Sendable, Equatable {
    /// Width of CLAP's vectors, of the other text encoder's states, and of the language model.
    public var vectorWidth: Int, stateWidth: Int, width: Int
    /// Positions that are added to the states before they are projected; nil: none.
    public var positions: Int?

    /// Reads a config. Throws `format`, and `unsupported` for settings that change results and are not computed here.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        vectorWidth = try c.integer("text_encoder_dim", in: 1...Limits.width)
        stateWidth = try c.integer("text_encoder_1_dim", in: 1...Limits.width)
        // As published.
        width = try c.integer("langauge_model_dim", in: 1...Limits.width)
        let length = try c.optionalInteger("max_seq_length", in: 1...1 << 16)
        // Any value counts as set, be it false.
        guard c.has("use_learned_position_embedding") else {
            positions = nil
            return
        }
        guard let length else {
            throw c.error(
                "max_seq_length", "missing beside use_learned_position_embedding; expected a number of positions")
        }
        positions = length
    }
}

/// AudioLDM2's projection (`AudioLDM2ProjectionModel`): CLAP's vector and another encoder's states as one sequence for a language model,
/// each between a start and an end.
///
/// Immutable after loading; any number of runs may use one at once.
public final class AudioProjection: Sendable {
    /// What becomes of a batch of texts.
    public struct Sequence: Sendable {
        /// [texts, tokens + 5, width]
        public let vectors: Tensor
        /// Which of them are seen, row by row: the end of the states stands behind their padding.
        public let mask: [[Bool]]
    }

    /// Sizes.
    public let configuration: AudioProjectionConfiguration
    private let vector, states: Linear
    /// [positions, stateWidth]
    private let positions: Tensor?
    /// Start and end of the vector, of the states.
    private let marks: [Tensor]

    /// Vectors of a sequence that are no states.
    public static let others = 5

    /// Loads the projection. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: AudioProjectionConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        vector = try Linear(weights.scope("projection"), c.vectorWidth, c.width, of: .vectors)
        states = try Linear(weights.scope("projection_1"), c.stateWidth, c.width, of: .tokens)
        var marks: [Tensor] = []
        for name in ["sos_embed", "eos_embed", "sos_embed_1", "eos_embed_1"].each {
            marks.append(try weights.vector(name, c.width).reshaped(Shape(1, 1, c.width)))
        }
        self.marks = marks
        positions = try c.positions.map { (length) throws(DiffError) in
            let table = try weights.tensor("learnable_positional_embedding", [1, c.stateWidth, length])
                .widened(budget: weights.options.budget)
            return try table.reshaped(Shape(c.stateWidth, length)).transposed(budget: weights.options.budget)
        }
        try weights.finish()
        self.configuration = c
    }

    /// The sequence of vectors [texts, vectorWidth] and states [texts, tokens, stateWidth], of which `mask` says which are seen. Throws
    /// `shape` for other sizes.
    public func callAsFunction(
        _ vectors: Tensor, _ states: Tensor, mask: [[Bool]], _ run: Run
    ) throws(DiffError) -> Sequence {
        let c = configuration
        let (texts, length) = (states.shape[0], states.shape.rank == 3 ? states.shape[1] : 0)
        guard length > 0, states.shape.last == c.stateWidth, vectors.shape.dims == [texts, c.vectorWidth],
            mask.count == texts, mask.each.allSatisfy({ $0.count == length })
        else {
            throw DiffError(
                .shape,
                "vectors \(vectors.shape) and states \(states.shape) with \(mask.count) masks, expected [n, \(c.vectorWidth)] and [n, tokens, \(c.stateWidth)]"
            )
        }
        var placed = states
        if let positions {
            guard positions.shape[0] == length else {
                throw DiffError(
                    .shape, "states of \(length) tokens; the projection has \(positions.shape[0]) positions")
            }
            placed = try run.addTable(states, positions)
        }
        let out = try run.workspace.take(Shape(texts, length &+ Self.others, c.width))
        try run.storeTokens(vector(vectors, run).reshaped(Shape(texts, 1, c.width)), in: out, at: 1)
        try run.storeTokens(self.states(placed, run), in: out, at: 4)
        for (mark, position) in [0, 2, 3, length &+ 4].numbered {
            guard let tensor = marks.at(mark) else { continue }
            for text in Indices(below: texts) { try run.storeTokens(tensor, in: out, row: text, at: position) }
        }
        return Sequence(vectors: out, mask: mask.each.map { Self.extended($0) })
    }

    private static func extended(_ mask: [Bool]) -> [Bool] {
        var extended = [true, true, true, true]
        for isSeen in mask.each { extended.append(isSeen) }
        extended.append(true)
        return extended
    }
}

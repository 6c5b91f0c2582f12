import DiffCheckpoint
import DiffTensor

/// What a U-Net is told beside the text, made one vector per sample: the time, and for some networks the guidance scale, the pooled
/// text and sizes. Then the projections of all resnets as one layer.
///
/// Source: `UNet2DConditionModel.get_time_embed`, `get_aug_embed` and the `time_emb_proj` of its resnets, diffusers.
struct UNetEmbedding: Sendable {
    private let time: TimestepEmbedding
    private let guidance: (frequencies: TimeFrequencies, projection: Linear)?
    private let addition: (embedding: TimestepEmbedding, settings: UNetConfiguration.Addition)?
    private let projections: Linear
    private let features: Int

    init(_ w: Weights, _ assembly: UNetAssembly) throws(DiffError) {
        let c = assembly.configuration
        features = c.timeFeatures
        func frequencies(_ count: Int) -> TimeFrequencies {
            let half = count / 2
            return TimeFrequencies(
                half: half, denominator: Float(half) - c.frequencyShift, cosinesFirst: c.cosinesFirst)
        }
        let mlp = w.scope("time_embedding")
        time = TimestepEmbedding(
            frequencies: frequencies(c.timeFeatures),
            first: try Linear(mlp.scope("linear_1"), c.timeFeatures, c.timeWidth, of: .vectors),
            second: try Linear(mlp.scope("linear_2"), c.timeWidth, c.timeWidth, of: .vectors))
        guidance = try c.guidanceFeatures.map { (count) throws(DiffError) in
            (
                .guidance(half: count / 2),
                try Linear(mlp.scope("cond_proj"), count, c.timeFeatures, of: .vectors, bias: false)
            )
        }
        addition = try c.addition.map { (settings) throws(DiffError) in
            let mlp = w.scope("add_embedding")
            let embedding = TimestepEmbedding(
                frequencies: frequencies(settings.sizeFeatures),
                first: try Linear(mlp.scope("linear_1"), settings.width, c.timeWidth, of: .vectors),
                second: try Linear(mlp.scope("linear_2"), c.timeWidth, c.timeWidth, of: .vectors))
            return (embedding, settings)
        }
        let weight = try w.concatenated(
            assembly.timeNames.map { "\($0).weight" }, rows: assembly.timeWidths, columns: c.timeWidth)
        let bias = try w.concatenatedVectors(assembly.timeNames.map { "\($0).bias" }, counts: assembly.timeWidths)
        projections = Linear(weight: try WeightMatrix(weight), bias: bias)
    }

    /// What no step changes, in the order in which ``callAsFunction(_:_:_:)`` takes it.
    var constants: Int { (guidance == nil ? 0 : 1) &+ (addition == nil ? 0 : 1) }

    /// The features of the guidance scales less one that a network is told, [batch]: [batch, features].
    func guidanceFeatures(_ guidance: Tensor, _ run: Run) throws(DiffError) -> Tensor? {
        guard let frequencies = self.guidance?.frequencies else { return nil }
        let thousands = try run.combine(1000, guidance, 0, guidance)
        return try run.timeFeatures(thousands, frequencies)
    }

    /// What no step changes of `conditioning`: what is added to the features of the time, and to their embedding.
    func prepare(
        _ conditioning: Conditioning, guidance features: Tensor?, _ run: Run
    ) throws(DiffError) -> [Tensor] {
        let batch = conditioning.states.shape[0]
        var constants: [Tensor] = []
        if let guidance {
            if let features {
                guard features.shape == (try Shape(batch, guidance.projection.weight.inputs)) else {
                    throw DiffError(
                        .shape,
                        "features of guidance \(features.shape), expected [\(batch), \(guidance.projection.weight.inputs)]"
                    )
                }
                constants.append(try guidance.projection(features, run))
            } else {
                constants.append(try run.zeros(Shape(batch, self.features)))
            }
        }
        if let addition { constants.append(try added(addition.embedding, addition.settings, conditioning, run)) }
        return constants
    }

    /// The pooled text and the features of the sizes, embedded.
    private func added(
        _ embedding: TimestepEmbedding, _ settings: UNetConfiguration.Addition, _ conditioning: Conditioning, _ run: Run
    ) throws(DiffError) -> Tensor {
        let batch = conditioning.states.shape[0]
        guard let pooled = conditioning.pooled, let sizes = conditioning.sizes else {
            throw DiffError(
                .invalidArgument,
                "this network is told a pooled text (text_embeds) and sizes (time_ids) beside the text: give both")
        }
        let features = Checked.multiply(sizes.shape[1], settings.sizeFeatures) ?? 0
        guard pooled.shape.rank == 2, sizes.shape.rank == 2, pooled.shape[0] == batch, sizes.shape[0] == batch,
            Checked.sum(pooled.shape[1], features) == settings.width, features > 0
        else {
            throw DiffError(
                .shape,
                "a pooled text \(pooled.shape) and sizes \(sizes.shape) of \(settings.sizeFeatures) features each do not make "
                    + "[\(batch), \(settings.width)]")
        }
        let numbers = try embedding.features(sizes.reshaped(Shape(sizes.shape.count)), run)
        let both = try run.joinedTokens(
            pooled.reshaped(Shape(batch, pooled.shape[1], 1)), numbers.reshaped(Shape(batch, features, 1)))
        return try embedding.embedded(both.reshaped(Shape(batch, settings.width)), run)
    }

    /// The sinusoidal features of `t` [batch].
    func timeFeatures(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor { try time.features(t, run) }

    /// The embedding of features [batch, features], with nothing added to either.
    func plainEmbedding(_ features: Tensor, _ run: Run) throws(DiffError) -> Tensor { try time.embedded(features, run) }

    /// The embedding of `t` [batch] with what is added to it: [batch, timeWidth].
    func embedding(_ t: Tensor, _ constants: [Tensor], _ run: Run) throws(DiffError) -> Tensor {
        var features = try timeFeatures(t, run)
        if guidance != nil, let scale = constants.first { features = try run.add(features, scale) }
        let embedding = try time.embedded(features, run)
        guard addition != nil, let added = constants.last else { return embedding }
        return try run.add(embedding, added)
    }

    /// The projections of all resnets, [batch, columns].
    func callAsFunction(_ t: Tensor, _ constants: [Tensor], _ run: Run) throws(DiffError) -> Tensor {
        try projections(run.activate(embedding(t, constants, run), .silu), run)
    }
}

import DiffCheckpoint
import DiffTensor

/// What a U-Net is told beside the text, made one vector per sample: the time, and for some networks the guidance scale, the pooled
/// text and sizes, or a class vector. Then the projections of all resnets as one layer.
///
/// Source: `UNet2DConditionModel.get_time_embed`, `get_class_embed`, `get_aug_embed` and the `time_emb_proj` of its resnets, diffusers.
struct UNetEmbedding: Sendable {
    private let time: TimestepEmbedding
    private let guidance: (frequencies: TimeFrequencies, projection: Linear)?
    private let addition: (embedding: TimestepEmbedding, settings: UNetConfiguration.Addition)?
    private let classVector: (embedding: Linear, isJoined: Bool)?
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
        classVector = try c.classVector.map { (settings) throws(DiffError) in
            (try Linear(w.scope("class_embedding"), settings.width, c.timeWidth, of: .vectors), settings.isJoined)
        }
        let weight = try w.concatenated(
            assembly.timeNames.map { "\($0).weight" }, rows: assembly.timeWidths, columns: c.toldWidth)
        let bias = try w.concatenatedVectors(assembly.timeNames.map { "\($0).bias" }, counts: assembly.timeWidths)
        projections = Linear(weight: try w.unpacked(weight), bias: bias)
    }

    /// What no step changes, in the order in which ``callAsFunction(_:_:_:)`` takes it.
    var constants: Int { (guidance == nil ? 0 : 1) &+ (addition == nil && classVector == nil ? 0 : 1) }

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
        if let classVector { constants.append(try embedded(classVector.embedding, conditioning, run)) }
        return constants
    }

    /// The class vector, embedded.
    private func embedded(
        _ embedding: Linear, _ conditioning: Conditioning, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let vector = conditioning.pooled else {
            throw DiffError(
                .invalidArgument, "this network is told a vector for the whole prompt (class_labels): give it")
        }
        let wanted = try Shape(conditioning.states.shape[0], embedding.weight.inputs)
        guard vector.shape == wanted else {
            throw DiffError(.shape, "a vector for the whole prompt (class_labels) \(vector.shape), expected \(wanted)")
        }
        return try embedding(vector, run)
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
        return try embedding.embedded(joined(pooled, numbers.reshaped(Shape(batch, features)), run), run)
    }

    /// The vectors of `a` [batch, n] with those of `b` [batch, m] behind them.
    private func joined(_ a: Tensor, _ b: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let (batch, n, m) = (a.shape[0], a.shape[1], b.shape[1])
        let both = try run.joinedTokens(a.reshaped(Shape(batch, n, 1)), b.reshaped(Shape(batch, m, 1)))
        return try both.reshaped(Shape(batch, n &+ m))
    }

    /// The sinusoidal features of `t` [batch].
    func timeFeatures(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor { try time.features(t, run) }

    /// The embedding of features [batch, features], with nothing added to either.
    func plainEmbedding(_ features: Tensor, _ run: Run) throws(DiffError) -> Tensor { try time.embedded(features, run) }

    /// The embedding of `t` [batch] with what is added to it or stands behind it: [batch, toldWidth].
    private func embedding(_ t: Tensor, _ constants: [Tensor], _ run: Run) throws(DiffError) -> Tensor {
        var features = try timeFeatures(t, run)
        if guidance != nil, let scale = constants.first { features = try run.add(features, scale) }
        let embedding = try time.embedded(features, run)
        guard addition != nil || classVector != nil, let added = constants.last else { return embedding }
        return classVector?.isJoined == true ? try joined(embedding, added, run) : try run.add(embedding, added)
    }

    /// The projections of all resnets, [batch, columns].
    func callAsFunction(_ t: Tensor, _ constants: [Tensor], _ run: Run) throws(DiffError) -> Tensor {
        try projections(run.activate(embedding(t, constants, run), .silu), run)
    }
}

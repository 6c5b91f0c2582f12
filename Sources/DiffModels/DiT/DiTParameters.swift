import DiffCheckpoint
import DiffTensor

/// Where the parts of a DiT stand in a checkpoint: one implementation per published layout.
protocol DiTParameters {
    var patch: Linear { get throws(DiffError) }
    /// The stored position table [tokens, width]; nil where the layout does not store it.
    var positions: Tensor? { get throws(DiffError) }
    /// The embedders of the network, whose output the last layer sees.
    var embedder: DiTEmbedderParameters { get throws(DiffError) }
    /// The embedders of a block that has others; nil for one that shares the network's.
    func ownEmbedder(_ block: Int) throws(DiffError) -> DiTEmbedderParameters?
    var finalModulation: Linear { get throws(DiffError) }
    var finalProjection: Linear { get throws(DiffError) }
    func block(_ index: Int) throws(DiffError) -> DiTBlockParameters
}

/// The linear layers of one block and the names of its sites.
final class DiTBlockParameters {
    let modulation, qkv, projection, fc1, fc2: Linear
    let name, attentionName, mlpName: String

    init(
        modulation: Linear, qkv: Linear, projection: Linear, fc1: Linear, fc2: Linear, name: String,
        attentionName: String, mlpName: String
    ) {
        (self.modulation, self.qkv, self.projection, self.fc1, self.fc2) = (modulation, qkv, projection, fc1, fc2)
        (self.name, self.attentionName, self.mlpName) = (name, attentionName, mlpName)
    }
}

/// facebookresearch/DiT.
struct OfficialDiTParameters: DiTParameters {
    let weights: Weights
    let c: DiTConfiguration

    var patch: Linear {
        get throws(DiffError) { try patchProjection(weights.scope("x_embedder.proj"), c) }
    }
    var positions: Tensor? {
        get throws(DiffError) {
            guard weights.has("pos_embed") else { return nil }
            return try weights.tensor("pos_embed", [1, c.tokens, c.width]).widened(budget: weights.options.budget)
        }
    }
    var embedder: DiTEmbedderParameters {
        get throws(DiffError) {
            let mlp = weights.scope("t_embedder.mlp")
            return DiTEmbedderParameters(
                first: try Linear(mlp.scope("0"), c.timeFeatures, c.width, of: .vectors),
                second: try Linear(mlp.scope("2"), c.width, c.width, of: .vectors),
                classTable: try weights.tensor("y_embedder.embedding_table.weight", [c.classRows, c.width]))
        }
    }
    var finalModulation: Linear {
        get throws(DiffError) {
            try Linear(weights.scope("final_layer.adaLN_modulation.1"), c.width, 2 * c.width, of: .vectors)
        }
    }
    var finalProjection: Linear {
        get throws(DiffError) {
            try Linear(
                weights.scope("final_layer.linear"), c.width, c.patchSize * c.patchSize * c.outChannels, of: .tokens)
        }
    }

    func block(_ index: Int) throws(DiffError) -> DiTBlockParameters {
        let name = "blocks.\(index)"
        let w = weights.scope(name)
        return DiTBlockParameters(
            modulation: try Linear(w.scope("adaLN_modulation.1"), c.width, 6 * c.width, of: .vectors),
            qkv: try Linear(w.scope("attn.qkv"), c.width, 3 * c.width, of: .tokens),
            projection: try Linear(w.scope("attn.proj"), c.width, c.width, of: .tokens),
            fc1: try Linear(w.scope("mlp.fc1"), c.width, c.mlpWidth, of: .tokens),
            fc2: try Linear(w.scope("mlp.fc2"), c.mlpWidth, c.width, of: .tokens),
            name: name, attentionName: "\(name).attn", mlpName: "\(name).mlp")
    }

    func ownEmbedder(_ block: Int) throws(DiffError) -> DiTEmbedderParameters? { nil }
}

/// diffusers `DiTTransformer2DModel`: separate q, k and v, and both embedders in every block.
struct DiffusersDiTParameters: DiTParameters {
    let weights: Weights
    let c: DiTConfiguration

    var patch: Linear {
        get throws(DiffError) { try patchProjection(weights.scope("pos_embed.proj"), c) }
    }
    var positions: Tensor? { nil }
    var embedder: DiTEmbedderParameters { get throws(DiffError) { try embedder(0) } }
    var finalModulation: Linear {
        get throws(DiffError) { try Linear(weights.scope("proj_out_1"), c.width, 2 * c.width, of: .vectors) }
    }
    var finalProjection: Linear {
        get throws(DiffError) {
            try Linear(weights.scope("proj_out_2"), c.width, c.patchSize * c.patchSize * c.outChannels, of: .tokens)
        }
    }

    func block(_ index: Int) throws(DiffError) -> DiTBlockParameters {
        let name = "transformer_blocks.\(index)"
        let w = weights.scope(name)
        let attention = w.scope("attn1")
        let qkv = try Linear(attention, fusing: ["to_q", "to_k", "to_v"], c.width)
        return DiTBlockParameters(
            modulation: try Linear(w.scope("norm1.linear"), c.width, 6 * c.width, of: .vectors),
            qkv: qkv,
            projection: try Linear(attention.scope("to_out.0"), c.width, c.width, of: .tokens),
            fc1: try Linear(w.scope("ff.net.0.proj"), c.width, c.mlpWidth, of: .tokens),
            fc2: try Linear(w.scope("ff.net.2"), c.mlpWidth, c.width, of: .tokens),
            name: name, attentionName: "\(name).attn1", mlpName: "\(name).ff")
    }
}

private func patchProjection(_ weights: Weights, _ c: DiTConfiguration) throws(DiffError) -> Linear {
    let p = c.patchSize
    return try Linear(
        weight: weights.packed("weight", [c.width, c.inChannels, p, p]), bias: weights.vector("bias", c.width))
}

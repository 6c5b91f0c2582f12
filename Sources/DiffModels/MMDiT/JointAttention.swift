import DiffCheckpoint
import DiffTensor

/// Names of one stream's layers in an attention of diffusers.
struct AttentionNames {
    let split: [String]
    let fused: String
    let norms: [String]
    let output: String

    /// The stream that the attention is named after.
    static let own = AttentionNames(
        split: ["to_q", "to_k", "to_v"], fused: "to_qkv", norms: ["norm_q", "norm_k"], output: "to_out.0")
    /// The stream that joins it.
    static let added = AttentionNames(
        split: ["add_q_proj", "add_k_proj", "add_v_proj"], fused: "to_added_qkv",
        norms: ["norm_added_q", "norm_added_k"], output: "to_add_out")
}

/// One stream's side of a joint attention: queries, keys and values of its tokens, and what becomes of what they saw.
final class AttentionStream: Sendable {
    private let qkv: Linear
    /// [headWidth] of queries and keys; none where they stay as they are.
    private let norms: [Tensor]
    private let output: Linear?
    private let heads: Int

    /// The layers at the scope of an attention, projections stored apart or fused. Without `hasOutput` the stream is seen and sees nothing.
    init(_ w: Weights, _ names: AttentionNames, _ c: MMDiTConfiguration, hasOutput: Bool = true) throws(DiffError) {
        heads = c.heads
        if w.has("\(names.fused).weight"), !w.has("\(names.split.first ?? "").weight") {
            qkv = try Linear(w.scope(names.fused), c.width, 3 &* c.width, of: .tokens)
        } else {
            // Fused copies of a model that was saved with both say the same.
            w.markUsed(prefix: "\(names.fused).")
            qkv = try Linear(w, fusing: names.split, c.width)
        }
        var norms: [Tensor] = []
        if c.normalisesHeads {
            for name in names.norms.each { norms.append(try w.vector("\(name).weight", c.headWidth)) }
        }
        self.norms = norms
        output = hasOutput ? try Linear(w.scope(names.output), c.width, c.width, of: .tokens) : nil
    }

    /// Queries, keys and values of `x` [batch, n, width] to the tokens from `position` on of `joined` [batch, tokens, 3 * width].
    func project(_ x: Tensor, into joined: Tensor, at position: Int, _ run: Run) throws(DiffError) {
        try qkv(x, into: joined, at: position, run)
        for (part, weight) in norms.numbered {
            try run.normaliseHeads(
                in: joined, part: part, heads: heads, tokens: position, x.shape[1], weight: weight, eps: 1e-6)
        }
    }

    /// What is added to the stream for what its tokens, `count` from `first` on, saw; nil for a stream that sees nothing.
    func result(_ seen: Tensor, _ first: Int, _ count: Int, _ run: Run) throws(DiffError) -> Tensor? {
        try output.map { (output) throws(DiffError) in try output(seen, tokens: first, count, run) }
    }
}

extension Run {
    /// One attention of all tokens of the image and then, where there is text, of all of its tokens. Gives what is added to the streams.
    func jointAttention(
        _ site: Site, _ heads: Int, _ image: (stream: AttentionStream, tokens: Tensor),
        _ text: (stream: AttentionStream, tokens: Tensor, asks: Bool)? = nil
    ) throws(DiffError) -> Slots {
        let shape = image.tokens.shape
        let (own, others) = (shape[1], text?.tokens.shape[1] ?? 0)
        let joined = try workspace.take(Shape(shape[0], own &+ others, 3 &* shape[2]))
        try image.stream.project(image.tokens, into: joined, at: 0, self)
        if let text { try text.stream.project(text.tokens, into: joined, at: own, self) }
        let call = try AttentionCall(
            site: site, qkv: joined, heads: heads, asking: text?.asks == false ? own : nil)
        let seen = try attention(call)
        guard let first = try image.stream.result(seen, 0, own, self) else {
            throw DiffError(.internal, "an attention without an output for the image")
        }
        guard let text, text.asks, let second = try text.stream.result(seen, own, others, self) else {
            return Slots(first)
        }
        return Slots(first, [second])
    }
}

public import DiffTensor

/// A network that is told prompts, as one that is told classes: class n is prompt n of a set that was prepared before.
///
/// For learning procedures, whose data are states with a label each.
public final class PromptedDenoiser: Denoiser {
    /// The network that is told the prompts.
    public let network: any ConditionedDenoiser
    /// The prompt that stands for none, the last of the set; nil: all are prompts.
    public let nullClass: Int?
    private let prompts: PreparedConditioning

    /// `network` told one of `prompts` per sample; with `endsInNone` the last one stands for no prompt. Throws `unsupported` for a network
    /// that is given more than a state, such as a mask.
    public init(
        _ network: any ConditionedDenoiser, _ prompts: PreparedConditioning, endsInNone: Bool
    ) throws(DiffError) {
        guard network.predictedChannels >= network.channels else {
            throw DiffError(
                .unsupported,
                "a network that takes \(network.channels) channels and predicts \(network.predictedChannels) is given more than "
                    + "the state; learning is there for networks that are not")
        }
        (self.network, self.prompts) = (network, prompts)
        nullClass = endsInNone ? prompts.samples &- 1 : nil
    }

    /// The network's.
    public var layout: SiteLayout { network.layout }
    /// The network's.
    public var channels: Int { network.channels }
    /// Of the states that the network was trained on.
    public var side: Int { network.side }
    /// The network's.
    public var predictedChannels: Int { network.predictedChannels }
    /// Prompts, that for none included.
    public var classRows: Int { prompts.samples }
    /// Bytes of the prompts.
    public var heldBytes: Int { prompts.tensors.each.reduce(0) { Checked.sum($0, $1.storage.byteCount) } }

    /// The prediction for `x`, sample i being told prompt `y[i]`. Throws `invalidArgument` for a prompt that is not there.
    public func callAsFunction(_ x: Tensor, t: Tensor, y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        for prompt in y.each where prompt < 0 || prompt >= prompts.samples {
            throw DiffError(.invalidArgument, "no prompt \(prompt) among \(prompts.samples)")
        }
        var chosen: [Tensor] = []
        for tensor in prompts.tensors.each {
            let each = tensor.shape[0] / max(1, prompts.samples)
            let out = try run.workspace.take(tensor.shape.replacingFirst(each &* y.count))
            for (row, prompt) in y.numbered {
                try run.copyContents(of: tensor.rows(prompt &* each, each), to: out.rows(row &* each, each))
            }
            chosen.append(out)
        }
        return try network(x, t: t, PreparedConditioning(chosen, samples: y.count), run)
    }
}

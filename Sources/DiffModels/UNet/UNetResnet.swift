import DiffCheckpoint
import DiffTensor

/// GN, SiLU, conv 3 x 3, plus the time; GN, SiLU, conv 3 x 3; plus the input (through a 1 x 1 convolution when the widths differ).
///
/// Source: `ResnetBlock2D` of diffusers.
final class UNetResnet: Sendable {
    let site: Site
    private let norm1, norm2: GroupNorm
    private let conv1, conv2: Convolution
    private let shortcut: Convolution?
    private let column, channels: Int

    /// The resnet at the scope of `w`, in the stage `parent`.
    init(
        _ w: Weights, _ inputs: Int, _ outputs: Int, in parent: Site, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        let c = assembly.configuration
        site = assembly.layout.add(w.path, .resnet, in: parent)
        norm1 = try GroupNorm(w.scope("norm1"), inputs, groups: c.groups, eps: c.normEps)
        conv1 = try Convolution(w.scope("conv1"), inputs, outputs, kernel: 3, window: .init(padding: 1))
        norm2 = try GroupNorm(w.scope("norm2"), outputs, groups: c.groups, eps: c.normEps)
        conv2 = try Convolution(w.scope("conv2"), outputs, outputs, kernel: 3, window: .init(padding: 1))
        shortcut =
            inputs == outputs
            ? nil : try Convolution(w.scope("conv_shortcut"), inputs, outputs, kernel: 1, window: .init())
        (column, channels) = (assembly.addTime(w.full("time_emb_proj"), outputs), outputs)
    }

    /// `x` [batch, inputs, h, w], or `x` and a skip that have the inputs' channels together.
    func callAsFunction(_ x: Tensor, skip: Tensor? = nil, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        guard let skip else {
            return try run.at(site, x) { () throws(DiffError) in try segment(x, call, run) }
        }
        return try run.at(site, Slots(x, [skip])) { () throws(DiffError) in
            Slots(try segment(run.joinedChannels(x, skip), call, run))
        }.first
    }

    private func segment(_ x: Tensor, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        guard run.startsSegments else { return try layers(x, call, run) }
        return try run.segment { () throws(DiffError) in try self.layers(x, call, run) }
    }

    private func layers(_ x: Tensor, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        let times = try RowVectors(call.times, columns: column, channels)
        let h = try conv1(x, run, norm: norm1, addingPerChannel: times)
        let residual = if let shortcut { try shortcut(x, run) } else { x }
        return try conv2(h, run, norm: norm2, adding: residual)
    }
}

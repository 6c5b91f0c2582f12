import DiffCheckpoint
import DiffTensor

/// Nearest-neighbour enlargement to the size of the next skip, then a convolution.
final class UNetUpsampler: Sendable {
    let site: Site
    private let doubling: Convolution

    init(_ w: Weights, _ channels: Int, in parent: Site, _ assembly: inout UNetAssembly) throws(DiffError) {
        site = assembly.layout.add(w.path, .other, in: parent)
        doubling = try Convolution(
            w.scope("conv"), channels, channels, kernel: 3, window: .init(padding: 1, upsample: 2))
    }

    func callAsFunction(_ x: Tensor, size: Shape?, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            guard let size, size[2] != 2 &* x.shape[2] || size[3] != 2 &* x.shape[3] else {
                return try doubling(x, run)
            }
            // The zeros around the picture begin where it ends.
            let enlarged = try run.resizedNearest(x, height: size[2], width: size[3])
            return try doubling.over(ConvolutionWindow(padding: 1))(enlarged, run)
        }
    }
}

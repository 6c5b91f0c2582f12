import DiffCheckpoint
import DiffTensor
import TestSupport
import Testing

@testable import DiffModels

/// The largest planes of a decoder, made in pieces: as if made at once.
@Suite struct EnlargedPlanesTests {
    private func parts(_ inputs: Int, _ outputs: Int) throws -> (doubling: Convolution, block: ResidualBlock) {
        var shapes: [String: [Int]] = [:]
        func convolution(_ name: String, _ a: Int, _ b: Int, _ kernel: Int) {
            (shapes["\(name).weight"], shapes["\(name).bias"]) = ([b, a, kernel, kernel], [b])
        }
        convolution("up", inputs, inputs, 3)
        for (norm, width) in [("norm1", inputs), ("norm2", outputs)] {
            (shapes["b.\(norm).weight"], shapes["b.\(norm).bias"]) = ([width], [width])
        }
        convolution("b.conv1", inputs, outputs, 3)
        convolution("b.conv2", outputs, outputs, 3)
        if inputs != outputs { convolution("b.conv_shortcut", inputs, outputs, 1) }
        var numbers = Numbers(4)
        var tensors: [String: Tensor] = [:]
        for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
            tensors[name] = try numbers.tensor(dims, scale: 0.3)
        }
        let directory = try ScratchDirectory()
        try directory.write(tensors, as: "w.safetensors")
        let weights = Weights(try TensorTable(FileBytes(path: "\(directory.path)/w.safetensors")))
        var layout = SiteLayout(family: "test")
        let doubling = try Convolution(
            weights.scope("up"), inputs, inputs, kernel: 3, window: .init(padding: 1, upsample: 2))
        let block = try ResidualBlock(
            weights.scope("b"), .diffusers, inputs, outputs, groups: 4, site: layout.add("b", .resnet))
        return (doubling, block)
    }

    /// Tall planes with many pieces, and such that fit in one; a shortcut and none; odd heights.
    @Test(arguments: [(8, 16), (16, 8), (8, 8)], [1, 2, 3, 9, 700])
    func piecesAreTheWhole(_ widths: (Int, Int), _ height: Int) throws {
        let (doubling, block) = try parts(widths.0, widths.1)
        var numbers = Numbers(UInt64(height))
        let x = try numbers.tensor([2, widths.0, height, 6])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let expected = try block(doubling(x, run), run).array
        for rows in [4, 8, 12, 1024] {
            var planes = EnlargedPlanes(any: x, through: doubling)
            planes.rowsOfPiece = rows
            #expect(planes.pieces.starts.count == (2 * height + rows - 1) / rows)
            let found = try block(planes, run)
            // Sums over pieces are sums of parts: the last bit of a mean.
            #expect(Difference(found.array, expected).absolute < 2e-5, "\(rows) rows at a time")
        }
    }

    @Test func onlyTheLargestAreMadeInPieces() throws {
        let (doubling, _) = try parts(8, 8)
        func planes(_ height: Int, _ width: Int) throws -> EnlargedPlanes? {
            let shape = try Shape(1, 8, height, width)
            return EnlargedPlanes(try Tensor(Storage(virtual: 4 * shape.count), shape), through: doubling)
        }
        #expect(try planes(64, 64) == nil && planes(1024, 8192) == nil)
        let large = try #require(try planes(1 << 17, 128))
        #expect(large.pieces.starts.count > 1 && large.pieces.rows % 4 == 0)
        #expect(EnlargedPlanes(large.source, through: nil) == nil)
    }

    /// Ten minutes of AudioLDM2: without pieces 10 GB.
    @Test func tenMinutesTakeLessThanTheLargestPlanesThreeTimes() throws {
        let (doubling, block) = try parts(256, 128)
        let shape = try Shape(1, 256, 30_000, 32)
        let x = try Tensor(Storage(virtual: 4 * shape.count), shape)
        let run = Run(dryOn: 2)
        let planes = try #require(EnlargedPlanes(x, through: doubling))
        let out = try block(planes, run)
        #expect(out.shape == (try Shape(1, 128, 60_000, 64)))
        // Both tensors of the result's size, and some pieces.
        #expect(run.workspace.peakBytes < 2 * 4 * out.shape.count + 700 << 20)
    }
}

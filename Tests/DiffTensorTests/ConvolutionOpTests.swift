import DiffTensor
import TestSupport
import Testing

@Suite struct ConvolutionOpTests {
    struct Case: Sendable, CustomStringConvertible {
        let inputs: Int, outputs: Int, kernel: Int, window: ConvolutionWindow, name: String
        var description: String { "\(name), \(inputs) to \(outputs) channels, kernel \(kernel)" }
    }

    static let cases: [Case] = withEvery([1, 3, 8], [1, 4, 17]).flatMap { inputs, outputs in
        [
            Case(inputs: inputs, outputs: outputs, kernel: 1, window: .init(), name: "1 x 1"),
            Case(inputs: inputs, outputs: outputs, kernel: 3, window: .init(padding: 1), name: "padded"),
            Case(inputs: inputs, outputs: outputs, kernel: 3, window: .halving, name: "halving"),
            Case(inputs: inputs, outputs: outputs, kernel: 3, window: .init(padding: 1, upsample: 2), name: "doubling"),
            Case(inputs: inputs, outputs: outputs, kernel: 2, window: .init(stride: 2), name: "patches"),
        ]
    }

    private func reference(
        _ x: Tensor, _ w: [Double], _ b: [Double]?, outputs: Int, kernel: Int, _ window: ConvolutionWindow
    ) -> (values: [Double], height: Int, width: Int) {
        let (n, c, h, wd, up) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3], window.upsample)
        let height = (h * up + window.top + window.bottom - kernel) / window.stride + 1
        let width = (wd * up + window.left + window.right - kernel) / window.stride + 1
        let values = x.doubles
        var out: [Double] = []
        for sample in 0..<n {
            for o in 0..<outputs {
                for row in 0..<height {
                    for column in 0..<width {
                        var sum = b?[o] ?? 0
                        for i in 0..<c {
                            for ky in 0..<kernel {
                                for kx in 0..<kernel {
                                    let y = row * window.stride + ky - window.top
                                    let z = column * window.stride + kx - window.left
                                    guard y >= 0, z >= 0, y < h * up, z < wd * up else { continue }
                                    sum +=
                                        values[((sample * c + i) * h + y / up) * wd + z / up]
                                        * w[((o * c + i) * kernel + ky) * kernel + kx]
                                }
                            }
                        }
                        out.append(sum)
                    }
                }
            }
        }
        return (out, height, width)
    }

    /// Sums of at most 72 terms of size 1.
    @Test(arguments: cases)
    func convolutionIsTheWindowedSum(_ c: Case) throws {
        var numbers = Numbers(UInt64(c.inputs * 31 + c.outputs))
        for (h, w) in [(2, 2), (6, 4), (5, 7), (8, 34)] where h >= c.kernel || c.window.top > 0 || c.window.bottom > 0 {
            let x = try numbers.tensor([2, c.inputs, h, w])
            let weight = try numbers.tensor([c.outputs, c.inputs, c.kernel, c.kernel])
            let bias = try numbers.tensor([c.outputs])
            let (plain, height, width) = reference(
                x, weight.doubles, bias.doubles, outputs: c.outputs, kernel: c.kernel, c.window)
            let dims = [2, c.outputs, height, width]
            for method in ConvolutionMethod.allCases {
                try check("\(c) of \(h) x \(w), \(method)", plain, dims, tolerance: method == .direct ? 3e-6 : 6e-6) {
                    run in
                    try run.convolution(x, weight, bias: bias, window: c.window, method: method)
                }
            }
            let residual = try numbers.tensor(dims)
            let sums = zip(plain, residual.doubles).map { $0 + $1 }
            try check("\(c) of \(h) x \(w) with residual", sums, dims, tolerance: 6e-6) { run in
                try run.convolution(x, weight, bias: bias, window: c.window, ConvolutionExtras(residual: residual))
            }
        }
    }

    /// A norm that the convolution applies is the norm before it, whatever computes the sums; vectors are added to each pixel.
    @Test(arguments: ConvolutionMethod.allCases)
    func extrasAreWhatTheyStandFor(_ method: ConvolutionMethod) throws {
        var numbers = Numbers(9)
        for (h, w, up) in [(5, 7, 1), (16, 20, 1), (3, 4, 2)] {
            let (x, weight) = (try numbers.tensor([2, 8, h, w]), try numbers.tensor([6, 8, 3, 3]))
            let norm = GroupNormalisation(
                weight: try numbers.tensor([8]), bias: try numbers.tensor([8]), groups: 4, eps: 1e-5, activation: .silu)
            let vectors = try numbers.tensor([2, 12])
            let window = ConvolutionWindow(padding: 1, upsample: up)
            let run = Run(pool: nil, budget: nil)
            let fused = try run.convolution(
                x, weight, bias: nil, window: window, method: method,
                ConvolutionExtras(norm: norm, vectors: RowVectors(vectors, 1, of: 2)))
            let apart = try run.convolution(run.groupNorm(x, norm), weight, bias: nil, window: window, method: method)
            let area = h * w * up * up
            let expected = apart.doubles.enumerated().map { at, value in
                value + vectors.doubles[at / (6 * area) * 12 + 6 + at / area % 6]
            }
            #expect(zip(fused.doubles, expected).allSatisfy { abs($0 - $1) <= 1e-6 * (1 + abs($1)) }, "\(h) x \(w)")
        }
    }

    @Test(arguments: [DType.f16, .bf16])
    func narrowWeightsCountAsTheirValues(_ type: DType) throws {
        var numbers = Numbers(4)
        let weight = try numbers.narrow([5, 3, 3, 3], type)
        let x = try numbers.tensor([1, 3, 6, 6])
        let window = ConvolutionWindow(padding: 1)
        let wide = try weight.widened(budget: nil)
        let expected = reference(x, wide.doubles, nil, outputs: 5, kernel: 3, window).values
        try check("convolution", expected, [1, 5, 6, 6], tolerance: 3e-6) { run in
            try run.convolution(x, weight, bias: nil, window: window)
        }
    }

    @Test func mistakesAreRefused() throws {
        var numbers = Numbers(1)
        let x = try numbers.tensor([1, 3, 2, 2])
        let (w, wrong, vector) = (
            try numbers.tensor([4, 3, 3, 3]), try numbers.tensor([4, 2, 3, 3]), try numbers.tensor([3])
        )
        let residual = try numbers.tensor([1, 4, 3, 3])
        refuses(.shape) { _ = try $0.convolution(x, w, bias: nil, window: .init()) }
        refuses(.shape) { _ = try $0.convolution(x, wrong, bias: nil, window: .init(padding: 1)) }
        refuses(.shape) { _ = try $0.convolution(x, w, bias: vector, window: .init(padding: 1)) }
        refuses(.shape) { _ = try $0.convolution(x, w, bias: nil, window: .init(padding: 1, upsample: 3)) }
        refuses(.shape) { _ = try $0.convolution(x, w, bias: nil, window: .init(padding: 1, stride: 0)) }
        for extras in [
            ConvolutionExtras(residual: residual),
            ConvolutionExtras(vectors: try RowVectors(vector.reshaped(Shape(1, 3)), 0, of: 1)),
            ConvolutionExtras(norm: GroupNormalisation(weight: vector, bias: vector, groups: 2, eps: 0)),
        ] {
            refuses(.shape) { _ = try $0.convolution(x, w, bias: nil, window: .init(padding: 1), extras) }
        }
        refuses(.shape) { _ = try $0.convolution(vector, w, bias: nil, window: .init(padding: 1)) }
    }
}

import DiffTensor
import TestSupport
import Testing

/// Ops of networks of planes that have a way back: gradients pass to activations, the weights stay as they are.
@Suite struct PlaneGradientTests {
    private func norm(_ channels: Int, groups: Int, _ activation: Activation, _ numbers: inout Numbers) throws
        -> GroupNormalisation
    {
        GroupNormalisation(
            weight: try numbers.tensor([channels], around: 1), bias: try numbers.tensor([channels]), groups: groups,
            eps: 1e-2, activation: activation)
    }

    @Test(arguments: [(4, 1), (6, 3), (8, 8)], [Activation.none, .silu])
    func groupNorms(_ sizes: (channels: Int, groups: Int), _ activation: Activation) throws {
        for (height, width) in [(1, 2), (3, 3), (2, 17)] {
            var numbers = Numbers(UInt64(sizes.channels * 10 + width))
            let norm = try norm(sizes.channels, groups: sizes.groups, activation, &numbers)
            let x = try numbers.tensor([2, sizes.channels, height, width], scale: 2)
            try checkGradient("group norm \(activation)", [x]) { (run, x) throws(DiffError) in
                try run.groupNorm(x[0], norm)
            }
        }
    }

    /// Window, side of the kernel, size of the input.
    @Test(arguments: [
        (ConvolutionWindow(padding: 1), 3, (5, 4)), (ConvolutionWindow(padding: 1, stride: 2), 3, (6, 4)),
        (ConvolutionWindow(padding: 1, stride: 2), 3, (5, 7)), (.halving, 3, (6, 4)), (.halving, 3, (5, 3)),
        (ConvolutionWindow(padding: 1, upsample: 2), 3, (3, 4)), (ConvolutionWindow(), 1, (4, 3)),
        (ConvolutionWindow(padding: 2), 5, (3, 6)), (ConvolutionWindow(stride: 2), 1, (5, 4)),
    ])
    func convolutions(_ window: ConvolutionWindow, _ side: Int, _ size: (Int, Int)) throws {
        var numbers = Numbers(UInt64(side * 100 + size.0 * 10 + size.1))
        let x = try numbers.tensor([2, 4, size.0, size.1])
        let (weight, bias) = (try numbers.tensor([3, 4, side, side]), try numbers.tensor([3]))
        let shape = try Run(dryOn: 1).convolution(x, weight, bias: bias, window: window).shape
        let norm = try norm(4, groups: 2, .silu, &numbers)
        let inputs = [x, try numbers.tensor(shape.dims), try numbers.tensor([2, 7])]
        for method in ConvolutionMethod.allCases {
            try checkGradient("convolution, \(method)", [x]) { (run, x) throws(DiffError) in
                try run.convolution(x[0], weight, bias: bias, window: window, method: method)
            }
            try checkGradient("convolution of a norm and more, \(method)", inputs) { (run, x) throws(DiffError) in
                let vectors = try RowVectors(x[2], columns: 2, 3)
                return try run.convolution(
                    x[0], weight, bias: bias, window: window, method: method,
                    ConvolutionExtras(norm: norm, vectors: vectors, residual: x[1]))
            }
        }
    }

    @Test func aResidualAloneHasAGradient() throws {
        var numbers = Numbers(8)
        let (x, weight) = (try numbers.tensor([1, 2, 3, 3]), try numbers.tensor([2, 2, 3, 3]))
        try checkGradient("residual", [try numbers.tensor([1, 2, 3, 3])]) { (run, r) throws(DiffError) in
            try run.convolution(
                x, weight, bias: nil, window: ConvolutionWindow(padding: 1), ConvolutionExtras(residual: r[0]))
        }
    }

    @Test(arguments: [1, 5, 16, 33])
    func gates(_ width: Int) throws {
        var numbers = Numbers(UInt64(width))
        try checkGradient("geglu", [try numbers.tensor([2, 3, 2 * width], scale: 3)]) { (run, x) throws(DiffError) in
            try run.geGLU(x[0])
        }
    }

    @Test func channels() throws {
        var numbers = Numbers(12)
        let (a, b) = (try numbers.tensor([2, 3, 2, 5]), try numbers.tensor([2, 4, 2, 5]))
        try checkGradient("joined channels", [a, b]) { (run, x) throws(DiffError) in
            try run.joinedChannels(x[0], x[1])
        }
        try checkGradient("a tensor beside itself", [a]) { (run, x) throws(DiffError) in
            try run.joinedChannels(x[0], x[0])
        }
        try checkGradient("vectors over channels", [a, try numbers.tensor([2, 8])]) { (run, x) throws(DiffError) in
            try run.addChannels(x[0], RowVectors(x[1], columns: 4, 3))
        }
    }

    @Test func layout() throws {
        var numbers = Numbers(13)
        let (x, tokens) = (try numbers.tensor([2, 3, 4, 5]), try numbers.tensor([2, 20, 3]))
        try checkGradient("pixels", [x]) { (run, x) throws(DiffError) in try run.pixelTokens(x[0]) }
        try checkGradient("tokens added", [x, tokens]) { (run, x) throws(DiffError) in
            try run.addTokens(x[1], to: x[0])
        }
        for (height, width) in [(8, 10), (7, 9), (5, 5), (2, 11)] {
            try checkGradient("to \(height) x \(width)", [x]) { (run, x) throws(DiffError) in
                try run.resizedNearest(x[0], height: height, width: width)
            }
        }
    }

    /// Attention to a text: queries and what they come from have gradients, keys and values of the prompt need none.
    @Test func crossAttention() throws {
        var numbers = Numbers(14)
        let (q, kv) = (try numbers.tensor([2, 6, 8]), try numbers.tensor([2, 5, 16]))
        let op: (Run, Tensor, Tensor) throws(DiffError) -> Tensor = { (run, q, kv) throws(DiffError) in
            try run.denseAttention(
                AttentionRows(q), AttentionRows(kv, part: 0, of: 2), AttentionRows(kv, part: 1, of: 2), heads: 2)
        }
        try checkGradient("queries", [q]) { (run, x) throws(DiffError) in try op(run, x[0], kv) }
        try checkGradient("queries, keys and values", [q, kv]) { (run, x) throws(DiffError) in try op(run, x[0], x[1]) }
    }
}

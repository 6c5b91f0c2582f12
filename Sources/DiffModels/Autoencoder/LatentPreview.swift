public import DiffTensor

/// A picture of latents without an autoencoder: a linear map of a pixel's channels to red, green and blue, at the size of the latents. Good
/// enough to see what a run is heading for, at no cost.
public struct LatentPreview: Sendable {
    /// Autoencoders whose latents have published factors.
    public enum Space: String, Sendable, CaseIterable {
        /// Of Stable Diffusion 1.x and 2.x.
        case stableDiffusion
        /// Of SDXL.
        case stableDiffusionXL
        /// Of Stable Diffusion 3 and 3.5.
        case stableDiffusion3
    }

    /// Channels of the latents.
    public let channels: Int
    /// [3, channels, 1, 1] and [3], to 0 ... 1.
    private let weight, bias: Tensor

    /// The map for latents as the diffusion models of `space` have them.
    public init(_ space: Space) throws(DiffError) {
        let (factors, bias) = (space.factors, space.bias)
        channels = factors.count
        let rows = Indices(below: 3).map { colour in factors.each.map { ($0.at(colour) ?? 0) / 2 } }
        weight = try Tensor(rows.flattened { $0 }, Shape(3, factors.count, 1, 1))
        self.bias = try Tensor(bias.each.map { $0 / 2 + 0.5 }, Shape(3))
    }

    /// `latents` [n, channels, h, w] as pictures [n, 3, h, w] in 0 ... 1. Throws `shape`.
    public func callAsFunction(_ latents: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.clamped(
            run.convolution(latents, weight, bias: bias, window: ConvolutionWindow(), name: "preview"), fromChannel: 0,
            to: 0...1)
    }
}

extension LatentPreview.Space {
    /// Red, green and blue in -1 ... 1 for each channel, as fitted by the makers of ComfyUI.
    fileprivate var factors: [[Float]] {
        switch self {
        case .stableDiffusion:
            [
                [0.3512, 0.2297, 0.3227], [0.3250, 0.4974, 0.2350], [-0.2829, 0.1762, 0.2721],
                [-0.2120, -0.2616, -0.7177],
            ]
        case .stableDiffusionXL:
            [
                [0.3651, 0.4232, 0.4341], [-0.2533, -0.0042, 0.1068], [0.1076, 0.1111, -0.0362],
                [-0.3165, -0.2492, -0.2188],
            ]
        case .stableDiffusion3:
            [
                [-0.0922, -0.0175, 0.0749], [0.0311, 0.0633, 0.0954], [0.1994, 0.0927, 0.0458],
                [0.0856, 0.0339, 0.0902],
                [0.0587, 0.0272, -0.0496], [-0.0006, 0.1104, 0.0309], [0.0978, 0.0306, 0.0427],
                [-0.0042, 0.1038, 0.1358],
                [-0.0194, 0.0020, 0.0669], [-0.0488, 0.0130, -0.0268], [0.0922, 0.0988, 0.0951],
                [-0.0278, 0.0524, -0.0542],
                [0.0332, 0.0456, 0.0895], [-0.0069, -0.0030, -0.0810], [-0.0596, -0.0465, -0.0293],
                [-0.1448, -0.1463, -0.1189],
            ]
        }
    }

    /// What is added to the three.
    fileprivate var bias: [Float] {
        switch self {
        case .stableDiffusion: [0, 0, 0]
        case .stableDiffusionXL: [0.1084, -0.0175, -0.0011]
        case .stableDiffusion3: [0.2394, 0.2135, 0.1925]
        }
    }
}

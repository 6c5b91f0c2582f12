/// Geometry of a 2-d convolution.
public struct ConvolutionWindow: Sendable, Equatable {
    /// Pixels between two windows.
    public var stride = 1
    /// Zero rows and columns added on each side of the (enlarged) input.
    public var top = 0, left = 0, bottom = 0, right = 0
    /// The input is read as if enlarged this many times (1 or 2) by nearest neighbours.
    public var upsample = 1

    /// A window with equal padding on all sides.
    public init(padding: Int = 0, stride: Int = 1, upsample: Int = 1) {
        (top, left, bottom, right) = (padding, padding, padding, padding)
        self.stride = stride
        self.upsample = upsample
    }

    /// The VAE encoder's downsampling: 3 x 3, stride 2, one zero row below and one zero column to the right.
    public static var halving: ConvolutionWindow {
        var window = ConvolutionWindow(stride: 2)
        (window.bottom, window.right) = (1, 1)
        return window
    }
}

/// How 3 x 3 convolutions of stride 1, and those along time, are computed; all others are direct.
public enum ConvolutionMethod: String, Sendable, CaseIterable {
    /// Whatever takes least time for the sizes of a sample.
    case auto
    /// As sums over the pixels of a window.
    case direct
    /// By Winograd's transforms: fewer multiplications, and up to twice the rounding error (three times along time, where few channels or
    /// taps stay direct all the same).
    case winograd
}

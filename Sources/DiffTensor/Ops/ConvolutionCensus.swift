import CKernels

/// How one convolution is computed.
public enum ConvolutionForm: String, Sendable, CaseIterable {
    /// As sums over the pixels of a window.
    case direct
    /// By Winograd's transforms in tiles of 2 x 2 and of 4 x 4 pixels.
    case transformed2 = "F(2,3)"
    case transformed4 = "F(4,3)"

    init(_ form: Int32) {
        switch form {
        case Int32(CK_CONV_F2): self = .transformed2
        case Int32(CK_CONV_F4): self = .transformed4
        default: self = .direct
        }
    }
}

/// Why a convolution is direct.
public enum DirectReason: String, Sendable, CaseIterable {
    /// Transforms are for kernels of 3 x 3 that move by one pixel.
    case kernel, stride
    /// Transforms would take longer for so few channels and pixels.
    case size
    /// The setting asks for it.
    case setting
}

/// A convolution of a network at one size.
public final class CountedConvolution: Sendable {
    /// Its module path.
    public let name: String
    /// How it is computed, and why when directly.
    public let form: ConvolutionForm, reason: DirectReason?
    /// Channels of the input, and pixels of a window along a side.
    public let inputs: Int, kernel: Int
    /// Extents of one sample's output.
    public let channels: Int, height: Int, width: Int

    init(
        _ name: String, _ form: ConvolutionForm, _ reason: DirectReason?, inputs: Int, kernel: Int, _ output: Shape
    ) {
        (self.name, self.form, self.reason, self.inputs, self.kernel) = (name, form, reason, inputs, kernel)
        (channels, height, width) = (output[1], output[2], output[3])
    }
}

/// The convolutions that a dry run met, each once for every size, in the order met: what descriptions and estimates tell of them.
///
/// Used by the thread of its run.
public final class ConvolutionCensus {
    /// Those met so far.
    public private(set) var convolutions: [CountedConvolution] = []
    private var known: [String: Bool] = [:]

    /// None yet.
    public init() {}

    /// How many there are of `form`.
    public func count(_ form: ConvolutionForm) -> Int {
        convolutions.each.reduce(0) { $1.form == form ? $0 &+ 1 : $0 }
    }

    /// Notes the convolution called `name` that `arguments` describe, chosen under `method`.
    func note(_ name: String, _ arguments: ck_conv2d_args, _ method: ConvolutionMethod, _ output: Shape) {
        let form = unsafe ConvolutionForm(arguments.form)
        let reason = unsafe form == .direct ? reason(arguments, method) : nil
        let key = "\(name) \(output[2]) \(output[3]) \(form.rawValue)"
        guard known[key] == nil else { return }
        known.put(true, for: key)
        let (inputs, kernel) = unsafe (Int(clamping: arguments.in_channels), Int(clamping: arguments.kh))
        convolutions.append(CountedConvolution(name, form, reason, inputs: inputs, kernel: kernel, output))
    }

    /// What the choice says about a convolution that is direct.
    private func reason(_ arguments: ck_conv2d_args, _ method: ConvolutionMethod) -> DirectReason {
        var arguments = unsafe arguments
        // What stays direct when transforms are asked for has none.
        guard unsafe ck_conv2d_form(&arguments, 1) != Int32(CK_CONV_DIRECT) else {
            return unsafe arguments.kh == 3 && arguments.kw == 3 ? .stride : .kernel
        }
        return method == .direct ? .setting : .size
    }
}

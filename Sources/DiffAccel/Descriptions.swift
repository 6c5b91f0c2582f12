public import DiffCheckpoint
import DiffTensor

// One line of text for each thing that a program may want to print.

extension SampleResult: CustomStringConvertible {
    /// The statistics and the shape of every tensor as JSON, in the form that the C header describes.
    public var json: JSON {
        guard case .object(var members) = statistics.json else { return statistics.json }
        var shapes: [String: JSON] = [:]
        for tensor in tensors.each { shapes.put(.array(tensor.shape.dims.each.map(JSON.integer)), for: tensor.name) }
        members.put(.object(shapes), for: "tensors")
        return .object(members)
    }

    /// Steps, seconds, and the tensors: `50 ddim steps, 1.25 s: images [2, 28, 28, 1], latents [2, 1, 28, 28]`.
    public var description: String {
        "\(statistics): " + tensors.each.map { "\($0.name) \($0.shape)" }.joined(separator: ", ")
    }
}

extension SampleStatistics: CustomStringConvertible {
    /// Steps and seconds: `50 ddim steps, 1.25 s`.
    public var description: String { "\(steps.count) \(sampler) steps, \(seconds.hundredths) s" }
}

extension ImageBatch: CustomStringConvertible {
    /// How many images of what size: `2 images of 28 x 28, 1 channel`.
    public var description: String {
        "\(count) images of \(width) x \(height), \(channels) channel\(channels == 1 ? "" : "s")"
    }
}

// Not by a description, which is the facts as JSON.
extension Model: TextOutputStreamable {
    private var summary: String { "\(familyName) model \(path), \(bytes) bytes" }

    /// Family, path and size.
    public func write<Target: TextOutputStream>(to target: inout Target) { target.write(summary) }
}

extension Session: CustomStringConvertible {
    /// The model and the plan.
    public var description: String {
        "session of the \(model.familyName) model \(model.path), \(plan), \(threads) threads"
    }
}

extension Estimate: CustomStringConvertible {
    /// Bytes and arithmetic.
    public var description: String { "\(weights) bytes of weights, \(peak) beside them, \(flops) FLOP" }
}

extension Double {
    /// With two decimals.
    fileprivate var hundredths: String {
        guard let number = Checked.integer((magnitude * 100).rounded()), number < 1 << 53 else { return "\(self)" }
        let digits = String(100 &+ number % 100).dropFirst()
        return "\(self < 0 ? "-" : "")\(number / 100).\(digits)"
    }
}

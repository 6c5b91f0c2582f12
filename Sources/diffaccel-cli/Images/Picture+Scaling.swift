import DiffAccel
import DiffCheckpoint

extension Picture {
    /// The picture at another size: each pixel is a mean of those around its place, with weights that fall off in a straight line, over as
    /// many as become one.
    func scaled(width: Int, height: Int) -> Picture {
        guard width != self.width || height != self.height else { return self }
        let across = Self.weights(from: self.width, to: width)
        let down = Self.weights(from: self.height, to: height)
        var wide = [Float](repeating: 0, count: width * self.height * channels)
        for y in 0..<self.height {
            for (x, (first, weights)) in across.enumerated() {
                for channel in 0..<channels {
                    var sum: Float = 0
                    for (i, weight) in weights.enumerated() {
                        sum += weight * Float(bytes[(y * self.width + first + i) * channels + channel])
                    }
                    wide[(y * width + x) * channels + channel] = sum
                }
            }
        }
        var result = Picture(width: width, height: height, filledWith: [UInt8](repeating: 0, count: channels))
        let line = width * channels
        for (y, (first, weights)) in down.enumerated() {
            for at in 0..<line {
                var sum: Float = 0
                for (i, weight) in weights.enumerated() { sum += weight * wide[(first + i) * line + at] }
                result.bytes[y * line + at] = UInt8(max(0, min(255, sum.rounded())))
            }
        }
        return result
    }

    /// For each of `to` places the first of `from` pixels that matter there, and the weights from it on; they sum to 1.
    private static func weights(from: Int, to: Int) -> [(first: Int, weights: [Float])] {
        let ratio = Double(from) / Double(to)
        let reach = max(1, ratio)
        return (0..<to).map { place in
            let centre = (Double(place) + 0.5) * ratio
            let first = max(0, Int((centre - reach).rounded(.down)))
            let last = min(from - 1, Int((centre + reach).rounded(.up)))
            let weights = (first...last).map { max(0, 1 - abs(Double($0) + 0.5 - centre) / reach) }
            let sum = weights.reduce(0, +)
            return (first, weights.map { Float($0 / sum) })
        }
    }

    /// The picture at another size by the nearest pixel, so that edges stay where they are.
    func nearest(width: Int, height: Int) -> Picture {
        var result = Picture(width: width, height: height, filledWith: [UInt8](repeating: 0, count: channels))
        for y in 0..<height {
            for x in 0..<width {
                let from = (y * self.height / height * self.width + x * self.width / width) * channels
                for channel in 0..<channels {
                    result.bytes[(y * width + x) * channels + channel] = bytes[from + channel]
                }
            }
        }
        return result
    }

    /// The pixels as the tensor [1, 3, H, W] in -1 … 1 of an RGB picture. Throws `outOfMemory`.
    func pixels() throws(DiffError) -> Tensor {
        let tensor = try Tensor(uninitialized: Shape(1, channels, height, width), budget: nil)
        guard let out = unsafe tensor.floats else { return tensor }
        for (at, byte) in bytes.enumerated() {
            unsafe out[at % channels * width * height + at / channels] = Float(byte) / 127.5 - 1
        }
        return tensor
    }

    /// The brightness as the tensor [1, 1, H, W] in 0 … 1. Throws `outOfMemory`.
    func brightness() throws(DiffError) -> Tensor {
        let tensor = try Tensor(uninitialized: Shape(1, 1, height, width), budget: nil)
        guard let out = unsafe tensor.floats else { return tensor }
        for at in 0..<width * height {
            let sum = bytes[at * channels..<(at + 1) * channels].reduce(0) { $0 + Int($1) }
            unsafe out[at] = Float(sum) / Float(255 * channels)
        }
        return tensor
    }
}

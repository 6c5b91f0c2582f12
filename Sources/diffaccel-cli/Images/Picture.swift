import DiffAccel
import Glibc

/// An 8-bit picture, gray (1 channel) or RGB (3), row-major.
struct Picture {
    let width: Int, height: Int, channels: Int
    var bytes: [UInt8]

    /// A picture of one colour; `colour` has a value for each channel.
    init(width: Int, height: Int, filledWith colour: [UInt8]) {
        (self.width, self.height, channels) = (width, height, colour.count)
        bytes = []
        bytes.reserveCapacity(width * height * colour.count)
        for _ in 0..<width * height { bytes += colour }
    }

    private init(width: Int, height: Int, channels: Int, bytes: [UInt8]) {
        (self.width, self.height, self.channels, self.bytes) = (width, height, channels, bytes)
    }

    /// The pictures of a batch. Throws `unsupported` when they are neither gray nor RGB.
    static func all(of batch: ImageBatch) throws(DiffError) -> [Picture] {
        guard batch.channels == 1 || batch.channels == 3 else {
            throw DiffError(
                .unsupported, "images of \(batch.channels) channels cannot be shown; use --latents for the raw values")
        }
        let all = unsafe batch.withBytes { unsafe Array($0) }
        let size = batch.height * batch.width * batch.channels
        return (0..<batch.count).map { index in
            Picture(
                width: batch.width, height: batch.height, channels: batch.channels,
                bytes: Array(all[index * size..<(index + 1) * size]))
        }
    }

    /// Fills a rectangle; what lies outside the picture is left out.
    mutating func fill(x: Int, y: Int, width: Int, height: Int, _ colour: [UInt8]) {
        let columns = max(0, x)..<max(0, x, min(self.width, x + width))
        for row in max(0, y)..<max(0, y, min(self.height, y + height)) {
            for column in columns {
                let at = (row * self.width + column) * channels
                for channel in 0..<channels { bytes[at + channel] = colour[channel] }
            }
        }
    }

    /// Draws `other` of as many channels, each of its pixels as a square of side `scale`, with its corner at (x, y).
    mutating func draw(_ other: Picture, x: Int, y: Int, scale: Int) {
        let columns = max(0, x)..<max(0, x, min(width, x + other.width * scale))
        for row in max(0, y)..<max(0, y, min(height, y + other.height * scale)) {
            let line = (row - y) / scale * other.width
            for column in columns {
                let from = (line + (column - x) / scale) * channels
                let to = (row * width + column) * channels
                for channel in 0..<channels { bytes[to + channel] = other.bytes[from + channel] }
            }
        }
    }
}

/// How far one set of pictures is from another, on the scale 0 ... 255.
struct PictureDistance {
    /// Mean of the absolute differences.
    let meanAbsolute: Double
    /// Peak signal-to-noise ratio in dB; infinite for equal pictures.
    let peakSignalToNoise: Double

    /// The distance between pictures of equal number and size.
    init(_ some: [Picture], _ others: [Picture]) {
        var (absolute, square, count) = (0, 0, 0)
        for (one, other) in zip(some, others) {
            for (a, b) in zip(one.bytes, other.bytes) {
                let difference = abs(Int(a) - Int(b))
                absolute += difference
                square += difference * difference
            }
            count += min(one.bytes.count, other.bytes.count)
        }
        meanAbsolute = Double(absolute) / Double(max(1, count))
        let error = Double(square) / Double(max(1, count))
        peakSignalToNoise = error == 0 ? .infinity : 10 * log10(255 * 255 / error)
    }
}

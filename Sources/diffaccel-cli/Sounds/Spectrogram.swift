import DiffAccel

/// A spectrogram as a picture: time to the right, frequencies upwards, louder parts lighter.
enum Spectrogram {
    /// Colours from silent to loud: black, blue, red, yellow, white.
    private static let colours: [[Float]] = [
        [0, 0, 4], [66, 10, 104], [187, 55, 84], [249, 142, 9], [252, 255, 164],
    ]
    /// How far below the loudest parts are told apart, in natural logarithms.
    private static let range: Float = 9
    /// Pixels of a bin of frequencies.
    private static let height = 4
    private static let gap = 8

    /// The picture of `frames` times `bins` values, frame by frame; several are put below each other.
    static func picture(_ all: [[Float]], frames: Int, bins: Int) -> Picture {
        let each = bins * height
        var picture = Picture(
            width: max(1, frames), height: max(1, all.count * (each + gap) - gap), filledWith: [255, 255, 255])
        for (number, values) in all.enumerated() {
            let loudest = values.max() ?? 0
            for frame in 0..<frames {
                for bin in 0..<bins {
                    let share = 1 + (values[frame * bins + bin] - loudest) / range
                    picture.fill(
                        x: frame, y: number * (each + gap) + (bins - 1 - bin) * height, width: 1, height: height,
                        colour(min(max(share, 0), 1)))
                }
            }
        }
        return picture
    }

    private static func colour(_ share: Float) -> [UInt8] {
        let place = share * Float(colours.count - 1)
        let first = min(Int(place), colours.count - 2)
        return zip(colours[first], colours[first + 1]).map { UInt8($0 + ($1 - $0) * (place - Float(first))) }
    }
}

import DiffAccel

/// Many pictures of one size as one, in rows.
enum ImageGrid {
    private static let gap = 2

    /// The pictures in rows of `columns`, each pixel as a square of side `scale`, on white; without a frame there is no margin.
    static func arrange(
        _ pictures: [Picture], columns: Int, scale: Int, isFramed: Bool = true
    ) throws(DiffError) -> Picture {
        let gap = isFramed ? Self.gap : 0
        guard let first = pictures.first, columns > 0, scale > 0 else {
            throw DiffError(.invalidArgument, "a grid needs pictures, columns and a scale of at least 1")
        }
        let across = min(columns, pictures.count)
        let down = (pictures.count + columns - 1) / columns
        let (width, height) = (first.width * scale + gap, first.height * scale + gap)
        guard width * across + gap <= 1 << 16, height * down + gap <= 1 << 16 else {
            throw DiffError(
                .unsupported, "a grid of \(across) x \(down) pictures is too large; use --individual or --scale 1")
        }
        var grid = Picture(
            width: width * across + gap, height: height * down + gap,
            filledWith: [UInt8](repeating: 255, count: first.channels))
        for (index, picture) in pictures.enumerated() {
            grid.draw(
                picture, x: gap + index % columns * width, y: gap + index / columns * height, scale: scale)
        }
        return grid
    }

    /// The number of columns of a grid that is about as wide as high.
    static func squareColumns(_ count: Int) -> Int {
        var columns = 1
        while columns * columns < count { columns += 1 }
        return columns
    }
}

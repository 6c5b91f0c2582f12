import DiffTensor

/// What a convolution over doubled planes gives, row by row as it is asked for: as a whole it would be the largest tensor of a decoder.
struct EnlargedPlanes {
    /// [batch, channels, h, w]
    let source: Tensor
    let doubling: Convolution

    /// More elements than this are made in pieces: 1 GiB.
    static let most = 1 << 28
    /// Rows at once: what is computed of a row must not depend on the piece that it falls into, so pieces begin where the tiles of
    /// convolutions do, and overlap by one.
    private static let tile = 4, bytes = 64 << 20

    /// Nil for planes that are not too large to be made at once.
    init?(_ source: Tensor, through doubling: Convolution?) {
        let each = Checked.multiply(source.shape.count / max(1, source.shape[1]), 4) ?? .max
        guard let doubling, source.shape.rank == 4, doubling.window.upsample == 2,
            (Checked.multiply(each, doubling.weight.shape[0]) ?? .max) > Self.most
        else { return nil }
        (self.source, self.doubling) = (source, doubling)
    }

    /// Whatever the size.
    init(any source: Tensor, through doubling: Convolution) { (self.source, self.doubling) = (source, doubling) }

    /// Rows at once, a multiple of a tile; nil: as many as are of a good size.
    var rowsOfPiece: Int?

    var batch: Int { source.shape[0] }
    var height: Int { 2 &* source.shape[2] }
    var width: Int { 2 &* source.shape[3] }

    /// First rows of pieces, and how many each has at most.
    var pieces: (starts: [Int], rows: Int) {
        let row = max(1, batch &* doubling.weight.shape[0] &* width &* 4)
        let rows = rowsOfPiece ?? max(Self.tile, Self.bytes / row / Self.tile &* Self.tile)
        var (starts, next): ([Int], Int) = ([], 0)
        while next < height {
            starts.append(next)
            next &+= max(1, rows)
        }
        return (starts, rows)
    }

    /// Rows `top ..< top + count`, and those around them that there are, a tile at most: where the first of them stands, and they.
    func rows(_ top: Int, _ count: Int, _ run: Run) throws(DiffError) -> (first: Int, planes: Tensor) {
        let first = max(0, top &- Self.tile)
        let end = min(height, top &+ count &+ Self.tile)
        // Their own neighbours; two rows of the result stand for one of the source.
        let from = max(0, first / 2 &- 1)
        let until = min(source.shape[2], (end &+ 1) / 2 &+ 1)
        let part = try run.window(source, top: from, left: 0, height: until &- from, width: source.shape[3])
        var window = doubling.window
        // Rows above that were taken for their neighbours alone are passed over; below likewise.
        window.top = 1 &- (first &- 2 &* from)
        window.bottom = 1 &- (2 &* until &- end)
        return (first, try doubling.over(window)(part, run))
    }
}

extension ResidualBlock {
    /// The block over planes that are made piece by piece, twice: for their mean and variance, and to be convolved.
    func callAsFunction(_ x: EnlargedPlanes, _ run: Run) throws(DiffError) -> Tensor {
        let norm = norm1.with(.silu)
        let sums = try run.groupSums(batch: x.batch, groups: norm.groups)
        let (starts, rows) = x.pieces
        for top in starts.each {
            try run.checkCancel()
            let count = min(rows, x.height &- top)
            let (first, planes) = try x.rows(top, count, run)
            try run.add(
                run.window(planes, top: top &- first, left: 0, height: count, width: x.width), to: sums, norm)
        }
        let factors = try run.factors(sums, norm)
        let shape = try Shape(x.batch, conv2.weight.shape[0], x.height, x.width)
        let (h, residual) = (try run.workspace.take(shape), try run.workspace.take(shape))
        for top in starts.each {
            try run.checkCancel()
            let count = min(rows, x.height &- top)
            let (first, planes) = try x.rows(top, count, run)
            var window = conv1.window
            window.top = 1 &- (top &- first)
            window.bottom = 1 &- (first &+ planes.shape[2] &- top &- count)
            try run.storeRows(conv1.over(window)(planes, run, norm: norm1, factors: factors), in: h, at: top)
            let own = try run.window(planes, top: top &- first, left: 0, height: count, width: x.width)
            try run.storeRows(shortcut.map { (s) throws(DiffError) in try s(own, run) } ?? own, in: residual, at: top)
        }
        run.workspace.trim()
        return try conv2(h, run, norm: norm2, replacing: residual)
    }
}

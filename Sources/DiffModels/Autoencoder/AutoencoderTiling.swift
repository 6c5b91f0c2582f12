public import DiffTensor

extension ImageAutoencoder {
    /// Decodes in overlapping tiles of `tile` x `tile` latents whose borders are blended linearly: memory is that of one tile.
    ///
    /// An approximation (as diffusers' `tiled_decode`): group norms and the middle attention, where there are any, see one tile at a time,
    /// so colours can shift slightly between tiles. Tiles overlap by a quarter. `latents` is [1, C, h, w].
    ///
    /// Ranks that share the run share the tiles; nil on those that only make some of them (``DiffTensor/Run/isRoot``).
    public func decodeTiled(_ latents: Tensor, tile: Int, _ run: Run) throws(DiffError) -> Tensor? {
        let (h, w) = (latents.shape[2], latents.shape[3])
        guard latents.shape[0] == 1, tile >= 8 else {
            throw DiffError(.shape, "tiles of \(tile) latents over \(latents.shape)")
        }
        if tile >= h, tile >= w { return run.isRoot ? try decode(latents, run) : nil }
        let overlap = tile / 4
        // The last tile of a row or column ends with it: all are as large.
        let (height, width) = (min(tile, h), min(tile, w))
        let (tops, lefts) = (Self.starts(h, tile, overlap), Self.starts(w, tile, overlap))
        func place(_ piece: Int) -> (top: Int, left: Int) {
            (tops.at(piece / max(1, lefts.count)) ?? 0, lefts.at(piece % max(1, lefts.count)) ?? 0)
        }
        let out =
            run.isRoot ? try run.workspace.take(Shape(1, pictureChannels, h &* factor, w &* factor)) : nil
        try run.pieces(
            tops.count &* lefts.count, of: Shape(1, pictureChannels, height &* factor, width &* factor)
        ) { (piece) throws(DiffError) in
            let (top, left) = place(piece)
            return try decode(run.window(latents, top: top, left: left, height: height, width: width), run)
        } use: { (piece, decoded) throws(DiffError) in
            guard let out else { return }
            let (top, left) = place(piece)
            try run.blend(decoded, into: out, top: top &* factor, left: left &* factor, overlap: overlap &* factor)
        }
        return out
    }

    /// First rows of tiles of side `tile` that cover `size` with at least `overlap` rows in common; the last ends at `size`.
    private static func starts(_ size: Int, _ tile: Int, _ overlap: Int) -> [Int] {
        guard size > tile else { return [0] }
        var starts: [Int] = []
        var at = 0
        while at < size &- tile {
            starts.append(at)
            at &+= max(1, tile &- overlap)
        }
        starts.append(size &- tile)
        return starts
    }
}

public import DiffTensor

extension ImageAutoencoder {
    /// Decodes in overlapping tiles of `tile` x `tile` latents whose borders are blended linearly: memory is that of one tile.
    ///
    /// An approximation (as diffusers' `tiled_decode`): group norms and the middle attention, where there are any, see one tile at a time,
    /// so colours can shift slightly between tiles. Tiles overlap by a quarter. `latents` is [1, C, h, w].
    public func decodeTiled(_ latents: Tensor, tile: Int, _ run: Run) throws(DiffError) -> Tensor {
        let (h, w) = (latents.shape[2], latents.shape[3])
        guard latents.shape[0] == 1, tile >= 8 else {
            throw DiffError(.shape, "tiles of \(tile) latents over \(latents.shape)")
        }
        if tile >= h, tile >= w { return try decode(latents, run) }
        let overlap = tile / 4
        let out = try run.workspace.take(Shape(1, pictureChannels, h &* factor, w &* factor))
        for top in Self.starts(h, tile, overlap).each {
            for left in Self.starts(w, tile, overlap).each {
                let piece = try run.window(
                    latents, top: top, left: left, height: min(tile, h &- top), width: min(tile, w &- left))
                let decoded = try decode(piece, run)
                try run.blend(
                    decoded, into: out, top: top &* factor, left: left &* factor, overlap: overlap &* factor)
            }
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

import DiffModels
import DiffTensor

/// Latents to pictures as small as they are, by a linear map: for looks while a run goes on.
struct LinearDecoder: PictureDecoder {
    private let map: LatentPreview

    /// For the latents of `space`.
    init(_ space: LatentPreview.Space) throws(DiffError) { map = try LatentPreview(space) }

    var name: String { "linear" }
    func shape(of state: Shape) throws(DiffError) -> Shape? { try Shape(state[0], 3, state[2], state[3]) }
    func decodeOne(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard state.shape[1] == map.channels else {
            throw DiffError(
                .unsupported, "previews \"linear\" are for \(map.channels) channels, the latents have \(state.shape[1])"
            )
        }
        return try map(state, run)
    }
    func levels(_ pixels: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float) {
        (pixels, 255, 0)
    }
}

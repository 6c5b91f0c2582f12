import DiffTensor

/// For models that work on pixels: the state is an image.
struct PixelDecoder: PictureDecoder {
    var name: String { "pixels" }
    func shape(of state: Shape) throws(DiffError) -> Shape? { nil }
    func decodeOne(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor { state }
}

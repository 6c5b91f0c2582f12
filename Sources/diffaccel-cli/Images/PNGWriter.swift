import CPNG
import DiffAccel
import DiffCheckpoint

/// Pictures as PNG files.
///
/// libpng reports errors by `longjmp`, which must not cross Swift frames; its simplified interface catches them itself.
enum PNGWriter {
    /// Writes `picture` as the file `path`, complete or not at all; to standard output for `-`. `parameters`, if any, is its text of that
    /// name: what it was made with. Throws `io`, `unsupported`.
    static func write(_ picture: Picture, to path: String, parameters: String? = nil) throws(DiffError) {
        let bytes = try encode(picture, for: path)
        try ResultFile.write(parameters.map { PNGText.inserting($0, into: bytes) } ?? bytes, to: path)
    }

    /// The bytes of the PNG file; `path` names it in errors.
    private static func encode(_ picture: Picture, for path: String) throws(DiffError) -> [UInt8] {
        guard let width = UInt32(exactly: picture.width), let height = UInt32(exactly: picture.height) else {
            throw DiffError(.unsupported, "\(path): a PNG cannot be \(picture.width) x \(picture.height) pixels")
        }
        var image = unsafe png_image()
        unsafe image.version = UInt32(PNG_IMAGE_VERSION)
        unsafe (image.width, image.height) = (width, height)
        // Gray is the format without flags.
        unsafe image.format = picture.channels == 3 ? UInt32(PNG_FORMAT_FLAG_COLOR) : 0
        // The first pass only counts.
        var size = 0
        var done = unsafe picture.bytes.withUnsafeBytes { pixels in
            unsafe png_image_write_to_memory(&image, nil, &size, 0, pixels.baseAddress, 0, nil)
        }
        var encoded = [UInt8](repeating: 0, count: size)
        if done != 0 {
            done = unsafe picture.bytes.withUnsafeBytes { pixels in
                unsafe encoded.withUnsafeMutableBytes { target in
                    unsafe png_image_write_to_memory(
                        &image, target.baseAddress, &size, 0, pixels.baseAddress, 0, nil)
                }
            }
        }
        guard done != 0 else {
            let reason = unsafe withUnsafeBytes(of: image.message) { text in
                unsafe String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
            }
            throw DiffError(.io, "\(path): no PNG could be made: \(reason)")
        }
        return encoded
    }
}

import CPNG
import DiffAccel
import DiffCheckpoint

/// Pictures from PNG files.
///
/// libpng reports errors by `longjmp`, which must not cross Swift frames; its simplified interface catches them itself.
enum PNGReader {
    /// The most bytes of a file that are read, and the most pixels of a side.
    private static let (mostBytes, mostPixels) = (1 << 28, 16_384)

    /// The bytes of the file `path`. Throws `io`, and `unsupported` for a file that is too large.
    static func bytes(of path: String) throws(DiffError) -> [UInt8] {
        let file = try FileBytes(path: path)
        guard file.size <= mostBytes else {
            throw DiffError(.unsupported, "\(path): a file of \(file.size) bytes is not read as a picture")
        }
        var bytes = [UInt8](repeating: 0, count: file.size)
        try unsafe bytes.withUnsafeMutableBufferPointer { (target) throws(DiffError) in
            try unsafe file.read(at: 0, into: UnsafeMutableRawBufferPointer(target))
        }
        return bytes
    }

    /// The picture in the file `path`, RGB; what is transparent is on white. Throws `io`, `format`, `unsupported`.
    static func read(_ path: String) throws(DiffError) -> Picture {
        let bytes = try bytes(of: path)
        guard PNGText.isPNG(bytes) else {
            throw DiffError(.format, "\(path): not a PNG file; other pictures have to be converted first")
        }
        var image = unsafe png_image()
        unsafe image.version = UInt32(PNG_IMAGE_VERSION)
        defer { unsafe png_image_free(&image) }
        let begun = unsafe bytes.withUnsafeBytes { file in
            unsafe png_image_begin_read_from_memory(&image, file.baseAddress, file.count)
        }
        guard begun != 0 else { throw unsafe error(path, image) }
        let (width, height) = unsafe (Int(image.width), Int(image.height))
        guard width <= mostPixels, height <= mostPixels, width * height <= 1 << 27 else {
            throw DiffError(
                .unsupported, "\(path): \(width) x \(height) pixels; at most \(mostPixels) a side, and 134 million")
        }
        unsafe image.format = UInt32(PNG_FORMAT_FLAG_COLOR)
        var picture = Picture(width: width, height: height, filledWith: [255, 255, 255])
        var white = png_color(red: 255, green: 255, blue: 255)
        // The pixels are there until the file's bytes are, which libpng still reads.
        let done = unsafe bytes.withUnsafeBytes { _ in
            unsafe picture.bytes.withUnsafeMutableBytes { pixels in
                unsafe png_image_finish_read(&image, &white, pixels.baseAddress, 0, nil)
            }
        }
        guard done != 0 else { throw unsafe error(path, image) }
        return picture
    }

    private static func error(_ path: String, _ image: png_image) -> DiffError {
        let reason = unsafe withUnsafeBytes(of: image.message) { text in
            unsafe String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
        }
        return DiffError(.format, "\(path): the picture cannot be read: \(reason)")
    }
}

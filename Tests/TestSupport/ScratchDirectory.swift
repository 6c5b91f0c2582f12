import DiffCheckpoint
import DiffTensor
import Foundation

/// A directory of its own for one test, removed with its contents when the object goes.
public final class ScratchDirectory {
    public let path: String

    /// An empty directory in the system's place for temporary files.
    public init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("diffaccel-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Path of `name` in the directory; folders on the way are made.
    public func file(_ name: String) throws -> String {
        let full = "\(path)/\(name)"
        let folder = (full as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return full
    }

    /// Writes `json` as the file `name`.
    public func write(_ json: JSON, as name: String) throws {
        try AtomicFile.write(json.serialized(pretty: true), to: file(name))
    }

    /// Writes `tensors` as the safetensors file `name`.
    public func write(_ tensors: [String: Tensor], as name: String) throws {
        try SafetensorsWriter.write(tensors, to: file(name))
    }

    /// Writes `values` as the NumPy file `name` of these extents, elements of eight bytes. Gives its path.
    @discardableResult
    public func write(integers values: [Int], _ dims: [Int], as name: String) throws -> String {
        var bytes = Array("\u{93}NUMPY".unicodeScalars.map { UInt8($0.value) }) + [1, 0]
        let extents = dims.map { "\($0)," }.joined()
        let head = "{'descr': '<i8', 'fortran_order': False, 'shape': (\(extents))}"
        bytes += [UInt8(head.utf8.count), 0] + Array(head.utf8)
        for value in values {
            let bits = UInt64(bitPattern: Int64(value))
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * shift))) }
        }
        let path = try self.file(name)
        let file = try AtomicFile(path: path)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.commit()
        return path
    }
}

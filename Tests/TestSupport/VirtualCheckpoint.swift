import DiffCheckpoint
import DiffTensor
import Foundation

/// A safetensors file of any size that takes no room: a real header over a hole.
public enum VirtualCheckpoint {
    /// Writes f32 tensors of these extents, all zero, as the file `path`.
    public static func write(_ shapes: [String: [Int]], to path: String) throws {
        var table: [String: JSON] = [:]
        var end = 0
        for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
            let next = end + dims.reduce(4, *)
            table[name] = .object([
                "dtype": .string("F32"), "shape": .array(dims.map { .integer($0) }),
                "data_offsets": .array([.integer(end), .integer(next)]),
            ])
            end = next
        }
        let text = Array(JSON.object(table).serialized().utf8)
        var header = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) }
        header += text
        guard FileManager.default.createFile(atPath: path, contents: Data(header)),
            let file = FileHandle(forWritingAtPath: path)
        else { throw DiffError(.io, path) }
        try file.truncate(atOffset: UInt64(header.count + end))
        try file.close()
    }
}

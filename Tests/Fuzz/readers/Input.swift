import DiffCheckpoint
import DiffTensor
import Glibc

// What the targets of readers that the C interface reaches through a model's folder only have in common: they call the Swift modules of
// the library, whose objects they are linked with.

/// The bytes of an input, zeros once they are used up.
struct Input {
    private var bytes: ArraySlice<UInt8>

    init(_ data: UnsafePointer<UInt8>, _ size: Int) {
        bytes = Array(UnsafeBufferPointer(start: data, count: size))[...]
    }

    var isEmpty: Bool { bytes.isEmpty }
    mutating func byte() -> Int { Int(bytes.popFirst() ?? 0) }
    mutating func pick<T>(_ list: [T]) -> T { list[byte() % list.count] }

    /// A short text of the input's own bytes.
    mutating func text() -> String {
        var taken: [UInt8] = []
        for _ in 0..<(byte() % 24) {
            let next = UInt8(byte())
            if next >= 0x20, next != 0x22, next != 0x5c { taken.append(next) }
        }
        return String(decoding: taken, as: UTF8.self)
    }
}

/// A tensor of a file that is being made.
struct Entry {
    var name: String
    var dims: [Int]
    var type = "F32"

    var json: String { "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(dims)" }
    var bytes: Int {
        dims.reduce(["F64": 8, "F32": 4, "I64": 8, "F16": 2, "BF16": 2, "U8": 1, "F8_E4M3": 1][type] ?? 4) { $0 * $1 }
    }
}

/// A safetensors file in memory.
final class MemoryFile: Sendable {
    private let descriptor: Int32

    init() {
        var path = Array("/dev/shm/fuzz-XXXXXX".utf8CString)
        descriptor = path.withUnsafeMutableBufferPointer { mkstemp($0.baseAddress!) }
        unlink(path)
    }
    deinit { close(descriptor) }

    /// The table of these tensors, whose elements are small numbers of their own.
    func table(_ entries: [Entry], metadata: String? = nil) throws(DiffError) -> TensorTable {
        var (members, end): ([String], Int) = (metadata.map { ["\"__metadata__\":\($0)"] } ?? [], 0)
        for entry in entries {
            let start = end
            end += entry.bytes
            members.append("\(entry.json),\"data_offsets\":[\(start),\(end)]}")
        }
        let header = Array("{\(members.joined(separator: ","))}".utf8)
        var bytes = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header
        for index in 0..<min(end, 1 << 16) { bytes.append(UInt8(truncatingIfNeeded: index % 61)) }
        _ = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        ftruncate(descriptor, 8 + header.count + end)
        return try TensorTable(FileBytes(path: "/proc/self/fd/\(descriptor)"))
    }
}

/// Changes names, extents and types of `entries` as the input says, and adds and drops some.
func edit(_ entries: [Entry], _ input: inout Input, words: [String]) -> [Entry] {
    var entries = entries
    for _ in 0..<12 where !input.isEmpty && !entries.isEmpty {
        let index = (input.byte() << 8 | input.byte()) % entries.count
        switch input.byte() % 9 {
        case 0: entries.remove(at: index)
        case 1: entries[index].name = input.pick(words) + input.text()
        case 2: entries[index].name += input.pick(words)
        case 3:
            let parts = entries[index].name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            let place = input.byte() % parts.count
            entries[index].name = parts.enumerated().map { $0.offset == place ? input.pick(words) : $0.element }.joined(
                separator: ".")
        case 4: entries[index].dims = (0..<(input.byte() % 6)).map { _ in input.pick([0, 1, 2, 3, 4, 6, 9, 64]) }
        case 5: entries[index].type = input.pick(["F32", "F64", "F16", "BF16", "I64", "U8", "F8_E4M3"])
        case 6:
            entries.append(
                Entry(name: input.pick(words) + "." + input.pick(words) + input.text(), dims: [input.byte() % 4, 2]))
        case 7: entries[index].dims.reverse()
        default: entries[index].dims = entries[index].dims.map { $0 * 2 }
        }
        if entries.indices.contains(index), entries[index].dims.reduce(1, *) > 1 << 14 { entries[index].dims = [2] }
    }
    return entries
}

/// Calls `body`; what it throws must be an error that a file can be to blame for.
func calling(_ body: () throws(DiffError) -> Void) {
    do throws(DiffError) { try body() } catch {
        guard error.code == .internal else { return }
        let text = Array("an internal error: \(error.message)\n".utf8)
        _ = write(2, text, text.count)
        abort()
    }
}

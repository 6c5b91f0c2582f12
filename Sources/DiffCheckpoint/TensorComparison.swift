public import DiffTensor
import Glibc

/// Copies: tensors that a checkpoint holds twice, and that only one of is read.
extension TensorTable {
    /// Bytes of each of two tensors that are compared at once.
    private static let piece = 1 << 20

    /// Whether the tensors `a` and `b` are both there with the same type, extents and bits. One that is the other under a second name
    /// is not read. Throws `io`, `outOfMemory`.
    public func holdsSame(_ a: String, _ b: String) throws(DiffError) -> Bool {
        guard let first = info(a), let second = info(b), first.type == second.type, first.shape == second.shape else {
            return false
        }
        guard first.name != second.name else { return true }
        let (left, right) = (try place(a), try place(b))
        let size = max(1, min(Self.piece, first.byteCount))
        let blocks = (try Storage(byteCount: size, budget: nil), try Storage(byteCount: size, budget: nil))
        var start = 0
        while start < first.byteCount {
            let count = min(size, first.byteCount &- start)
            try read(left, from: start, count: count, into: blocks.0, at: 0)
            try read(right, from: start, count: count, into: blocks.1, at: 0)
            guard let x = unsafe blocks.0.base, let y = unsafe blocks.1.base, unsafe memcmp(x, y, count) == 0 else {
                return false
            }
            start &+= count
        }
        return true
    }
}

extension Weights {
    /// Notes that `copy`, if the checkpoint has it, is `original` once more and is not read. Throws `incompatible` when they differ, ending
    /// with `remedy`.
    public func markCopy(_ copy: String, of original: String, remedy: String) throws(DiffError) {
        guard has(copy) else { return }
        let isOne = has(original) ? try table.holdsSame(full(copy), full(original)) : true
        guard isOne else {
            throw DiffError(
                .incompatible,
                "\(table.path): \(full(copy)) and \(full(original)) should be the same and differ; \(remedy)")
        }
        markUsed { $0 == full(copy) }
    }
}

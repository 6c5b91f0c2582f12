import DiffCheckpoint
import DiffTensor

extension ArrayFile {
    /// Throws `shape` unless there is a label for each of `count` samples.
    func checkLabels(of count: Int) throws(DiffError) {
        guard shape.count == count else {
            throw DiffError(.shape, "\(path): \(shape.count) labels for \(count) samples")
        }
    }

    /// The class labels of `count` samples. Throws `shape` for another number of them, `unsupported` for elements that are no integers,
    /// `invalidArgument` for a label outside 0 ..< `classes`.
    func labels(of count: Int, classes: Int) throws(DiffError) -> [Int] {
        try checkLabels(of: count)
        let labels = try integers()
        for (position, label) in labels.numbered where label < 0 || label >= classes {
            throw DiffError(
                .invalidArgument, "\(path): label \(label) at position \(position) is outside 0..<\(classes)")
        }
        return labels
    }
}

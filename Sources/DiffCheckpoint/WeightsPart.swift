import DiffTensor

/// The part of a network that a process computes, of which alone the matrices are loaded.
///
/// Tensors of the modules that are left out are looked up and their shapes checked like all others, and then handed out without memory,
/// unless they are vectors, which are small. So are matrices that stand in one block with some of the part. Computing with a tensor without
/// memory throws `internal`.
public struct WeightsPart: Sendable, Equatable {
    private let others: Set<String>
    private let isNothing: Bool

    /// No matrix at all: what a network needs is known without them.
    public static let nothing = WeightsPart(others: [], isNothing: true)

    private init(others: Set<String>, isNothing: Bool) { (self.others, self.isNothing) = (others, isNothing) }

    /// The part without the modules at these paths in the checkpoint, such as `up_blocks.1` or `up_blocks.2.resnets.0`.
    public init(without modules: [String]) {
        self.init(others: Set(modules), isNothing: false)
    }

    /// Whether the tensor `name` of `shape` is loaded.
    func loads(_ name: String, _ shape: Shape) -> Bool {
        guard shape.rank > 1 else { return true }
        if isNothing { return false }
        var path = ""
        for part in name.pieces(at: ".").each {
            path += path.isEmpty ? part : ".\(part)"
            if others.contains(path) { return false }
        }
        return true
    }
}

extension Weights {
    /// Whether the elements of `entry` are read: not in a dry run, and not outside of the part that is loaded.
    func isLoaded(_ entry: TensorEntry) -> Bool {
        !options.dryRun && options.part?.loads(entry.name, entry.shape) != false
    }
}

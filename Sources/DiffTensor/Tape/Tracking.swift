/// Where the gradient of a tensor goes: a contiguous part of a tape's node.
///
/// Parameters have the nodes from 0 on, for as long as they live; results of ops have the ones after them, for one pass.
public struct Tracking: Sendable, Equatable {
    /// Number on the tape.
    let node: Int
    /// The tensor's first element within the node's elements, and how many those are.
    let start: Int, count: Int
}

extension Tensor {
    /// Whether a tape follows this tensor: it is a trained parameter, or was computed from one.
    public var isTracked: Bool { tracking != nil }

    /// The same elements, followed as all of `node`.
    func tracked(as node: Int) -> Tensor {
        var tensor = self
        tensor.tracking = Tracking(node: node, start: 0, count: shape.count)
        return tensor
    }

    /// The same elements as a constant: nothing flows back through them.
    public var detached: Tensor {
        var tensor = self
        tensor.tracking = nil
        return tensor
    }
}

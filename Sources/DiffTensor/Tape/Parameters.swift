import Synchronization

/// A tensor of a model under its name in the checkpoint.
public struct Parameter: Sendable {
    /// Name in the checkpoint; several when tensors stored apart are computed as one.
    public let names: [String]
    /// The elements, f32; tracked when they are trained.
    public let tensor: Tensor
    /// Its number among the trained ones; nil when frozen.
    public let node: Int?
}

/// All tensors of a model that learns, in the order in which they were loaded.
///
/// Contents of trained tensors change between passes, by the optimiser; whoever else uses the model then sees the change.
public final class Parameters: Sendable {
    private struct State {
        var all: [Parameter] = []
        var trained = 0
    }

    private let state = Mutex(State())
    private let isTrained: @Sendable (String) -> Bool

    /// An empty set. `isTrained` tells by name which of the tensors to come are trained.
    public init(training isTrained: @escaping @Sendable (String) -> Bool = { _ in false }) {
        self.isTrained = isTrained
    }

    /// Adds `tensor` and gives it back, tracked when it is to be trained.
    public func add(_ names: [String], _ tensor: Tensor) -> Tensor {
        add(names, tensor, trained: names.contains(where: isTrained))
    }

    /// Adds `tensor` as one that is trained or not, whatever its name says.
    public func add(_ names: [String], _ tensor: Tensor, trained trains: Bool) -> Tensor {
        state.withLock { state in
            var tensor = tensor
            var node: Int?
            if trains {
                node = state.trained
                tensor = tensor.tracked(as: state.trained)
                state.trained &+= 1
            }
            state.all.append(Parameter(names: names, tensor: tensor, node: node))
            return tensor
        }
    }

    /// All of them.
    public var all: [Parameter] { state.withLock { $0.all } }
    /// The trained ones, by node.
    public var trained: [Parameter] { all.each.filter { $0.node != nil } }
}

/// One gradient for each trained parameter, used again from step to step.
public final class ParameterGradients {
    private let tensors: [Tensor]
    private var written: [Bool]

    /// Room for the gradients of the trained ones of `parameters`, charged to `budget`; without memory with `isVirtual`. Parameters
    /// that are added to the set later have no room.
    public init(_ parameters: Parameters, budget: MemoryBudget?, isVirtual: Bool = false) throws(DiffError) {
        var tensors: [Tensor] = []
        for parameter in parameters.trained.each {
            let shape = parameter.tensor.shape
            let bytes = shape.count &* 4
            let block = isVirtual ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: budget)
            tensors.append(try Tensor(block, shape))
        }
        self.tensors = tensors
        written = Array(repeating: false, count: tensors.count)
    }

    var count: Int { tensors.count }

    /// Forgets the last pass.
    public func clear() {
        for index in Indices(below: written.count) { written.put(false, at: index) }
    }

    /// The gradient of the parameter `node`; nil when nothing flowed back to it.
    public subscript(node: Int) -> Tensor? { written.at(node) == true ? tensors.at(node) : nil }

    func target(
        _ tracking: Tracking, _ shape: Shape, isWhole: Bool, _ run: Run
    ) throws(DiffError) -> (tensor: Tensor, accumulates: Bool) {
        guard let whole = tensors.at(tracking.node), let had = written.at(tracking.node),
            whole.shape.count == tracking.count
        else { throw DiffError(.internal, "a parameter without room for its gradient") }
        if !had {
            if !isWhole { run.fillZero(whole) }
            written.put(true, at: tracking.node)
        }
        let part = try Tensor(whole.storage, shape, .f32, offset: whole.offset &+ tracking.start)
        return (part, had || !isWhole)
    }
}

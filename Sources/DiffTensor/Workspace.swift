/// Blocks that are used again: after the first step of a loop, every tensor the step makes finds a block here.
///
/// The workspace keeps a reference to each block it ever handed out; a block is free when that is the only one left.
/// Requests are rounded to size classes and only a block of the same class answers, so a step that asks for the same
/// sequence of sizes as an earlier one allocates nothing, whatever the order in which blocks were given back.
/// Used by one thread at a time.
public final class Workspace {
    private struct Entry {
        var storage: Storage
        let sizeClass: Int
    }

    private let budget: MemoryBudget?
    private let isVirtual: Bool
    private var entries: [Entry] = []
    /// Bytes of the blocks held now.
    public private(set) var bytes = 0
    /// The most bytes held at once.
    public private(set) var peakBytes = 0
    /// Blocks allocated since the workspace was made: constant once the loop is warm.
    public private(set) var allocations = 0

    /// A workspace charged to `budget`; with `isVirtual` it accounts for blocks without allocating them.
    public init(budget: MemoryBudget?, isVirtual: Bool = false) {
        self.budget = budget
        self.isVirtual = isVirtual
    }

    /// What the blocks are charged to.
    public var memoryBudget: MemoryBudget? { budget }

    /// Set while a pass has fewer rows than the largest one: tensors then take the blocks that a pass of `capacity` rows would.
    /// Otherwise every number of rows would have blocks of its own, and all of them together many times the memory of one pass.
    private var stretch = (rows: 1, capacity: 1)

    /// Runs `body`, whose tensors have sizes proportional to `rows`, in the blocks of a pass of `capacity` rows.
    public func stretched<T>(
        _ rows: Int, to capacity: Int, _ body: () throws(DiffError) -> T
    ) throws(DiffError) -> T {
        let outer = stretch
        stretch = rows > 0 && capacity > rows ? (rows, capacity) : (1, 1)
        defer { stretch = outer }
        return try body()
    }

    /// An uninitialised f32 tensor. Throws `outOfMemory` or `overBudget`.
    public func take(_ shape: Shape) throws(DiffError) -> Tensor {
        let bytes = shape.count &* 4
        guard stretch.capacity > stretch.rows else { return try Tensor(block(bytes), shape) }
        // Not proportional to the rows, or too large to say: as asked.
        guard bytes % max(1, stretch.rows) == 0,
            let wanted = Checked.multiply(bytes / max(1, stretch.rows), stretch.capacity)
        else { return try Tensor(block(bytes), shape) }
        return try Tensor(block(wanted), shape)
    }

    /// A block of at least `bytes`. Throws `outOfMemory` or `overBudget`.
    public func block(_ bytes: Int) throws(DiffError) -> Storage {
        let sizeClass = Self.sizeClass(bytes)
        for index in entries.indices
        where entries[index].sizeClass == sizeClass && isKnownUniquelyReferenced(&entries[index].storage) {
            return entries[index].storage
        }
        return try grow(sizeClass)
    }

    /// Makes sure that every request `other` ever got at once can be answered without allocating. Throws `outOfMemory` or
    /// `overBudget`; blocks that were allocated until then stay.
    public func reserve(_ other: Workspace) throws(DiffError) {
        var wanted: [Int: Int] = [:]
        for entry in other.entries.each { wanted[entry.sizeClass, default: 0] += 1 }
        for entry in entries.each { wanted[entry.sizeClass, default: 0] -= 1 }
        for (sizeClass, count) in wanted.sorted(by: { $0.key < $1.key }).each {
            for _ in Indices(below: count) { try grow(sizeClass) }
        }
    }

    @discardableResult
    private func grow(_ sizeClass: Int) throws(DiffError) -> Storage {
        let storage = isVirtual ? Storage(virtual: sizeClass) : try Storage(byteCount: sizeClass, budget: budget)
        entries.append(Entry(storage: storage, sizeClass: sizeClass))
        allocations &+= 1
        bytes = Checked.sum(bytes, sizeClass)
        peakBytes = max(peakBytes, bytes)
        return storage
    }

    /// Gives back every block that nobody uses.
    public func trim() {
        var kept: [Entry] = []
        for index in entries.indices where !isKnownUniquelyReferenced(&entries[index].storage) {
            kept.append(entries[index])
        }
        entries = kept
        bytes = kept.each.reduce(0) { Checked.sum($0, $1.sizeClass) }
    }

    /// Rounded up to 16 steps an octave (at most 6 % more), at least 4 KiB.
    static func sizeClass(_ bytes: Int) -> Int {
        let wanted = max(bytes, 4096)
        let step = 1 << max(8, Int.bitWidth - wanted.leadingZeroBitCount - 5)
        return (wanted + step - 1) / step * step
    }
}

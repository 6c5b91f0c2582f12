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

    /// What blocks are charged to.
    public let budget: MemoryBudget?
    private let isVirtual: Bool
    private var entries: [Entry] = []
    /// Workspaces of forks of the run: see ``branch(_:)``.
    private var branches: [Workspace] = []
    private var ownBytes = 0, ownPeak = 0, ownAllocations = 0

    /// Bytes of the blocks held now, those of branches included.
    public var bytes: Int { branches.each.reduce(ownBytes) { Checked.sum($0, $1.bytes) } }
    /// The most bytes held at once; of several workspaces the sum, as they may all be at their peak together.
    public var peakBytes: Int { branches.each.reduce(ownPeak) { Checked.sum($0, $1.peakBytes) } }
    /// Blocks allocated since the workspace was made: constant once the loop is warm.
    public var allocations: Int { branches.each.reduce(ownAllocations) { $0 &+ $1.allocations } }

    /// A workspace charged to `budget`; with `isVirtual` it accounts for blocks without allocating them.
    public init(budget: MemoryBudget?, isVirtual: Bool = false) {
        self.budget = budget
        self.isVirtual = isVirtual
    }

    /// What the blocks are charged to.
    public var memoryBudget: MemoryBudget? { budget }

    /// The workspace of fork `index` of a run: one thread at a time uses it, beside those of other forks. It stays for the next fork of
    /// that number.
    func branch(_ index: Int) -> Workspace {
        while branches.count <= index { branches.append(Workspace(budget: budget, isVirtual: isVirtual)) }
        return branches.at(index) ?? self
    }

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
        let free = unsafe entries.withUnsafeMutableBufferPointer { entries -> Storage? in
            for index in Indices(below: entries.count) {
                let isFree =
                    unsafe entries[index].sizeClass == sizeClass && isKnownUniquelyReferenced(&entries[index].storage)
                if isFree { return unsafe entries[index].storage }
            }
            return nil
        }
        return if let free { free } else { try grow(sizeClass) }
    }

    /// Makes sure that every request `other` ever got at once can be answered without allocating. Throws `outOfMemory` or
    /// `overBudget`; blocks that were allocated until then stay.
    public func reserve(_ other: Workspace) throws(DiffError) {
        let held = entries.each.map(\.sizeClass).sorted()
        var position = 0
        for sizeClass in other.entries.each.map(\.sizeClass).sorted().each {
            while let here = held.at(position), here < sizeClass { position &+= 1 }
            if held.at(position) == sizeClass { position &+= 1 } else { try grow(sizeClass) }
        }
        for (index, theirs) in other.branches.numbered { try branch(index).reserve(theirs) }
    }

    @discardableResult
    private func grow(_ sizeClass: Int) throws(DiffError) -> Storage {
        let storage = isVirtual ? Storage(virtual: sizeClass) : try Storage(byteCount: sizeClass, budget: budget)
        entries.append(Entry(storage: storage, sizeClass: sizeClass))
        ownAllocations &+= 1
        ownBytes = Checked.sum(ownBytes, sizeClass)
        ownPeak = max(ownPeak, ownBytes)
        return storage
    }

    /// Gives back every unused block.
    public func trim() {
        var kept: [Entry] = []
        unsafe entries.withUnsafeMutableBufferPointer { entries in
            for index in Indices(below: entries.count) {
                if unsafe !isKnownUniquelyReferenced(&entries[index].storage) { unsafe kept.append(entries[index]) }
            }
        }
        entries = kept
        ownBytes = kept.each.reduce(0) { Checked.sum($0, $1.sizeClass) }
        for branch in branches.each { branch.trim() }
    }

    /// Rounded up to 16 steps an octave (at most 6 % more), at least 4 KiB.
    static func sizeClass(_ bytes: Int) -> Int {
        let wanted = max(bytes, 4096)
        let step = 1 << max(8, Int.bitWidth &- wanted.leadingZeroBitCount &- 5)
        guard let raised = Checked.add(wanted, step &- 1) else { return .max }
        return raised & ~(step &- 1)
    }
}

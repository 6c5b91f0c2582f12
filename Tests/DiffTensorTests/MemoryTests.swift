import DiffTensor
import TestSupport
import Testing

@Suite struct MemoryTests {
    // MARK: Tensor

    @Test func viewsShareTheirBlock() throws {
        let x = try Tensor((0..<24).map(Float.init), Shape(4, 3, 2))
        #expect(try x.rows(1, 2).array == (6..<18).map(Float.init))
        #expect(try x.rows(1, 2).shape == Shape(2, 3, 2) && x.rows(4, 0).array.isEmpty)
        #expect(try x.rows(1, 2).storage === x.storage)
        #expect(try x.reshaped(Shape(8, 3)).rows(7, 1).array == [21, 22, 23])
    }

    @Test(arguments: [(-1, 1), (0, 5), (4, 1), (2, 3), (1, -1), (Int.max, 1)])
    func rowsOutsideATensorAreRefused(_ start: Int, _ count: Int) throws {
        let x = try Tensor([1, 2, 3, 4], Shape(4, 1))
        #expect { try x.rows(start, count) } throws: { ($0 as? DiffError)?.code == .shape }
    }

    @Test func countsThatDifferAreRefused() throws {
        #expect { try Tensor([1, 2, 3], Shape(2, 2)) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try Tensor([1, 2], Shape(2)).reshaped(Shape(3)) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try Tensor(Storage(virtual: 8), Shape(3)) } throws: { ($0 as? DiffError)?.code == .internal }
        #expect { try Tensor(Storage(virtual: 8), Shape(2), offset: 1) } throws: {
            ($0 as? DiffError)?.code == .internal
        }
    }

    @Test func everyBlockIsAligned() throws {
        for bytes in [0, 1, 63, 64, 65, 4097] {
            let block = try Storage(byteCount: bytes, budget: nil)
            #expect(UInt(bitPattern: block.base) % 64 == 0 && block.byteCount == bytes)
        }
    }

    @Test func narrowElementsAreWidenedExactly() throws {
        let bytes: [UInt16] = [0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000]
        let half = try Storage(byteCount: 10, budget: nil)
        half.base?.copyMemory(from: bytes, byteCount: 10)
        let wide = try Tensor(half, Shape(5), .f16).widened(budget: nil)
        #expect(wide.array == [1, -2, 0x1p-24, 65504, -0.0] && wide.dtype == .f32)
        let brain: [UInt16] = [0x3f80, 0xc000, 0x0001, 0x7f7f, 0x3eaa]
        half.base?.copyMemory(from: brain, byteCount: 10)
        let values = try Tensor(half, Shape(5), .bf16).widened(budget: nil).array
        #expect(values == brain.map { Float(bitPattern: UInt32($0) << 16) })
        let same = try Tensor([1, 2], Shape(2))
        #expect(try same.widened(budget: nil).storage === same.storage)
    }

    // MARK: Budget

    @Test func aBudgetCountsItsBlocksAndTheirPeak() throws {
        let budget = try MemoryBudget(limit: 1000)
        var a: Storage? = try Storage(byteCount: 400, budget: budget)
        var b: Storage? = try Storage(byteCount: 600, budget: budget)
        #expect(budget.used == 1000 && budget.limit == 1000)
        #expect { try Storage(byteCount: 1, budget: budget) } throws: { ($0 as? DiffError)?.code == .overBudget }
        withExtendedLifetime(a) { a = nil }
        #expect(budget.used == 600 && budget.peak == 1000)
        budget.resetPeak()
        #expect(budget.peak == 600)
        withExtendedLifetime(b) { b = nil }
        #expect(budget.used == 0)
    }

    @Test func aRefusalSaysHowMuchThereIs() throws {
        let budget = try MemoryBudget(limit: 100)
        let held = try Storage(byteCount: 60, budget: budget)
        do {
            _ = try Storage(byteCount: 41, budget: budget)
            Issue.record("beyond the limit")
        } catch {
            #expect(error.message.contains("41") && error.message.contains("100") && error.message.contains("60"))
        }
        withExtendedLifetime(held) {}
    }

    @Test func aLimitOfZeroIsNone() throws {
        let budget = try MemoryBudget()
        #expect(budget.limit == 0)
        #expect(try Storage(byteCount: 1 << 20, budget: budget).byteCount == 1 << 20)
        #expect(budget.used == 0 && budget.peak == 1 << 20)
    }

    @Test func sizesThatNoSystemHasAreRefused() {
        for bytes in [-1, Int.max, Int.max - 63] {
            #expect(throws: DiffError.self) { try Storage(byteCount: bytes, budget: nil) }
        }
    }

    // MARK: Workspace

    @Test func blocksAreUsedAgainWhateverTheOrderOfRelease() throws {
        let workspace = Workspace(budget: nil)
        func step(_ order: [Int]) throws {
            var held: [Tensor?] = [nil, nil, nil, nil]
            for (index, count) in [3000, 3000, 9000, 100].enumerated() {
                held[index] = try workspace.take(Shape(count))
            }
            for index in order { held[index] = nil }
        }
        try step([0, 1, 2, 3])
        let warm = workspace.allocations
        #expect(warm == 4)
        for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] { try step(order) }
        #expect(workspace.allocations == warm)
    }

    @Test func twoTensorsInUseNeverShareABlock() throws {
        let workspace = Workspace(budget: nil)
        let a = try workspace.take(Shape(10))
        let b = try workspace.take(Shape(10))
        #expect(a.storage !== b.storage)
        let view = try a.rows(2, 3)
        #expect(view.storage === a.storage)
    }

    @Test func aViewKeepsItsBlockInUse() throws {
        let workspace = Workspace(budget: nil)
        var whole: Tensor? = try workspace.take(Shape(10))
        let view = try whole?.rows(0, 2)
        whole = nil
        let next = try workspace.take(Shape(10))
        #expect(view?.storage !== next.storage)
    }

    @Test func trimmingGivesBackWhatNobodyUses() throws {
        let budget = try MemoryBudget()
        let workspace = Workspace(budget: budget)
        let kept = try workspace.take(Shape(5000))
        _ = try workspace.take(Shape(70000))
        #expect(budget.used == workspace.bytes)
        workspace.trim()
        #expect(budget.used == workspace.bytes && workspace.bytes < 5000 * 4 * 2 && workspace.bytes >= kept.byteCount)
        #expect(workspace.peakBytes > 70000 * 4)
    }

    @Test(arguments: [1, 1023, 1024, 1025, 5000, 65536, 65537, 1_000_003])
    func sizeClassesWasteLittle(_ count: Int) throws {
        let workspace = Workspace(budget: nil, isVirtual: true)
        _ = try workspace.take(Shape(count))
        #expect(workspace.bytes >= count * 4)
        #expect(Double(workspace.bytes) <= max(4096, Double(count) * 4 * 1.0626))
    }

    @Test func aReservedWorkspaceNeedsNothingMore() throws {
        func step(_ workspace: Workspace) throws {
            let a = try workspace.take(Shape(3000))
            let b = try workspace.take(Shape(3000))
            let c = try workspace.take(Shape(50000))
            withExtendedLifetime((a, b, c)) {}
        }
        let plan = Workspace(budget: nil, isVirtual: true)
        try step(plan)
        let budget = try MemoryBudget()
        let workspace = Workspace(budget: budget)
        try workspace.reserve(plan)
        #expect(workspace.bytes == plan.bytes && budget.used == plan.bytes)
        let before = workspace.allocations
        try step(workspace)
        try workspace.reserve(plan)
        #expect(workspace.allocations == before)
        let small = Workspace(budget: try MemoryBudget(limit: plan.bytes - 1))
        #expect { try small.reserve(plan) } throws: { ($0 as? DiffError)?.code == .overBudget }
    }

    @Test func aVirtualWorkspaceAccountsWithoutMemory() throws {
        let workspace = Workspace(budget: nil, isVirtual: true)
        let x = try workspace.take(Shape(1 << 40))
        #expect(x.raw == nil && workspace.bytes >= 1 << 42)
    }
}

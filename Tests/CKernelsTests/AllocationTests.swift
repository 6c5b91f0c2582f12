import CKernels
import Testing

extension Kernels {
    @Suite struct Allocation {
        private func allocate(_ budget: OpaquePointer?, _ bytes: Int) -> (UnsafeMutableRawPointer?, Int32) {
            var status: Int32 = -1
            let block = ck_alloc(budget, bytes, &status)
            return (block, status)
        }

        @Test func blocksAreAligned() {
            for bytes in [0, 1, 63, 64, 65, 4096, 1 << 20] {
                let (block, status) = allocate(nil, bytes)
                #expect(status == CK_OK && UInt(bitPattern: block) % 64 == 0)
                block!.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
                ck_free(nil, block, bytes)
            }
            ck_free(nil, nil, 5)
        }

        @Test func impossibleSizesAreRefused() {
            for bytes in [Int(bitPattern: UInt.max), Int.max, Int.max - 64, 1 << 62] {
                let (block, status) = allocate(nil, bytes)
                #expect(block == nil && status == CK_NO_MEMORY)
            }
            let budget = ck_budget_create(0)
            #expect(allocate(budget, 1 << 62).1 == CK_NO_MEMORY)
            #expect(ck_budget_used(budget) == 0)
            ck_budget_destroy(budget)
        }

        @Test func budgetCountsAndRefuses() {
            let budget = ck_budget_create(1000)
            defer { ck_budget_destroy(budget) }
            let (a, _) = allocate(budget, 600)
            #expect(allocate(budget, 401).1 == CK_OVER_BUDGET)
            #expect(ck_budget_used(budget) == 600 && ck_budget_peak(budget) == 600)
            let (b, status) = allocate(budget, 400)
            #expect(status == CK_OK && ck_budget_used(budget) == 1000)
            ck_free(budget, a, 600)
            #expect(ck_budget_used(budget) == 400 && ck_budget_peak(budget) == 1000)
            ck_budget_reset_peak(budget)
            #expect(ck_budget_peak(budget) == 400)
            ck_budget_set_limit(budget, 300)
            #expect(ck_budget_limit(budget) == 300 && allocate(budget, 1).1 == CK_OVER_BUDGET)
            ck_budget_set_limit(budget, 0)
            let (c, open) = allocate(budget, 5000)
            #expect(open == CK_OK)
            ck_free(budget, b, 400)
            ck_free(budget, c, 5000)
            #expect(ck_budget_used(budget) == 0)
        }

        @Test func faultsComeWhenAskedFor() {
            defer { ck_fault_set(0, 0) }
            let before = ck_alloc_count()
            ck_fault_set(2, 0)
            let results = (0..<4).map { _ in allocate(nil, 8) }
            #expect(results.map(\.1) == [0, 1, 0, 0] && ck_alloc_count() == before + 4)
            ck_fault_set(2, 1)
            let sticky = (0..<4).map { _ in allocate(nil, 8) }
            #expect(sticky.map(\.1) == [0, 1, 1, 1])
            ck_fault_set(0, 1)
            let off = allocate(nil, 8)
            #expect(off.1 == CK_OK)
            for (block, _) in results + sticky + [off] { ck_free(nil, block, 8) }
        }

        @Test func poisonFillsNewBlocks() {
            ck_set_poison(0xC3)
            defer { ck_set_poison(-1) }
            let (block, _) = allocate(nil, 100)
            #expect((0..<100).allSatisfy { block!.load(fromByteOffset: $0, as: UInt8.self) == 0xC3 })
            ck_free(nil, block, 100)
        }
    }
}

import CKernels
import Glibc
import Testing

/// What a task sees: a counter per index, the pool for nested runs.
private struct Context {
    var counts: UnsafeMutablePointer<Int32>
    var pool: OpaquePointer?
    var inner = 0
    var threads: Int32 = 1
}

private func countOnce(_ context: UnsafeMutableRawPointer?, _ index: Int64, _ thread: Int32) {
    let c = context!.assumingMemoryBound(to: Context.self)
    // Only its own index is touched: a repeated index shows as 2, a wrong thread number as a large count.
    c.pointee.counts[Int(index)] += thread >= 0 && thread < c.pointee.threads ? 1 : 1000
}

private func nest(_ context: UnsafeMutableRawPointer?, _ index: Int64, _ thread: Int32) {
    let c = context!.assumingMemoryBound(to: Context.self).pointee
    var inner = Context(counts: c.counts + Int(index) * c.inner, threads: 1)
    ck_pool_run(c.pool, Int64(c.inner), countOnce, &inner)
}

private func rounding(_ context: UnsafeMutableRawPointer?, _ index: Int64, _ thread: Int32) {
    context!.assumingMemoryBound(to: Int32.self)[Int(index)] = fegetround()
    usleep(200)
}

extension Kernels {
    @Suite struct Pool {
        @Test(arguments: [1, 2, 3, 4, 5, 64] as [Int32]) func everyIndexOnce(threads: Int32) {
            withPool(threads) { pool in
                #expect(ck_pool_threads(pool) == threads)
                for round in 0..<60 {
                    for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                        let counts = Guarded<Int32>([Int32](repeating: 0, count: tasks))
                        var context = Context(counts: counts.p, pool: pool, threads: threads)
                        ck_pool_run(pool, Int64(tasks), countOnce, &context)
                        #expect(counts.values.allSatisfy { $0 == 1 } && counts.intact, "round \(round), \(tasks) tasks")
                    }
                    if round % 20 == 0 { usleep(3000) }  // long enough for the workers to park
                }
            }
        }

        /// Threads look for work for some microseconds and then sleep: a pool that waits takes no processor time, however many threads it has.
        @Test func aPoolThatWaitsSleeps() {
            withPool(64) { pool in
                let counts = Guarded<Int32>([Int32](repeating: 0, count: 256))
                var context = Context(counts: counts.p, pool: pool, threads: 64)
                ck_pool_run(pool, 256, countOnce, &context)
                usleep(100_000)
                let before = clock()
                usleep(500_000)
                let taken = Double(clock() - before) / Double(CLOCKS_PER_SEC)
                #expect(taken < 0.1, "\(taken) s of processor time in half a second of waiting")
                #expect(counts.values.allSatisfy { $0 == 1 })
            }
        }

        @Test func aDryPoolCallsAllTasksAndTellsOfThem() throws {
            let told = Guarded<Int64>([0, 0, 0])
            let pool = ck_pool_create_dry(
                40,
                { (context, tasks, _) in
                    let told = context!.assumingMemoryBound(to: Int64.self)
                    told[0] += 1
                    told[Int(told[0])] = tasks
                }, told.p)
            defer { ck_pool_destroy(pool) }
            #expect(ck_pool_threads(pool) == 40)
            let counts = Guarded<Int32>([Int32](repeating: 0, count: 40 * 9))
            var context = Context(counts: counts.p, pool: pool, inner: 9, threads: 40)
            ck_pool_run(pool, 40, nest, &context)
            #expect(counts.values.allSatisfy { $0 == 1 })
            ck_pool_run(pool, 1, countOnce, &context)
            #expect(told.values == [2, 40, 1] && told.intact)
        }

        @Test func nestedRunsAreSerial() {
            withPool(3) { pool in
                for _ in 0..<50 {
                    let counts = Guarded<Int32>([Int32](repeating: 0, count: 40 * 9))
                    var context = Context(counts: counts.p, pool: pool, inner: 9)
                    ck_pool_run(pool, 40, nest, &context)
                    #expect(counts.values.allSatisfy { $0 == 1 })
                }
            }
        }

        @Test func manyPoolsComeAndGo() {
            for i in 0..<40 {
                withPool(Int32(i % 4 + 1)) { pool in
                    let counts = Guarded<Int32>([Int32](repeating: 0, count: 10))
                    var context = Context(counts: counts.p, pool: pool, threads: 4)
                    if i % 3 != 0 { ck_pool_run(pool, 10, countOnce, &context) }
                }
            }
            ck_pool_destroy(nil)
            #expect(ck_pool_threads(nil) == 1)
        }

        @Test func withoutAPoolTheCallerWorks() {
            let counts = Guarded<Int32>([Int32](repeating: 0, count: 5))
            var context = Context(counts: counts.p)
            ck_pool_run(nil, 5, countOnce, &context)
            #expect(counts.values == [1, 1, 1, 1, 1])
        }

        @Test func absurdThreadCountsAreCut() {
            withPool(-3) { #expect(ck_pool_threads($0) == 1) }
            withPool(100_000) { #expect(ck_pool_threads($0) == 256) }
        }

        /// Workers round to nearest although their creator rounds down; the creator's own state comes back after.
        @Test func floatingPointEnvironment() {
            let before = fegetround()
            fesetround(FE_DOWNWARD)
            withPool(3) { pool in
                let modes = Guarded<Int32>([Int32](repeating: -1, count: 64))
                var saved = ck_fpenv()
                ck_fpenv_enter(&saved)
                let inside = fegetround()
                ck_fpenv_leave(&saved)
                let after = fegetround()
                fesetround(FE_DOWNWARD)
                ck_pool_run(pool, 64, rounding, modes.p)
                fesetround(before)
                #expect(inside == FE_TONEAREST && after == FE_DOWNWARD)
                #expect(modes.values.contains(FE_TONEAREST) && !modes.values.contains(-1))
            }
        }
    }

    @Suite struct Dispatch {
        @Test func namesAndSelection() {
            #expect((0..<Int32(CK_ISA_COUNT)).map(isaName) == ["base", "avx2", "avx512", "neon"])
            #expect(isaName(-1) == "unknown" && isaName(99) == "unknown")
            #expect(ck_isa_supported(Int32(CK_ISA_BASE)) == 1 && ck_isa_supported(99) == 0 && ck_isa_select(99) == 0)
            let before = ck_isa_current()
            onEachISA { isa in #expect(ck_isa_current() == isa && ck_isa_supported(isa) == 1) }
            #expect(ck_isa_current() == before)
        }
    }
}

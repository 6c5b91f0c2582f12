import CKernels
import Testing

private let int8 = Int32(CK_I8)

/// A matrix quantised by the library.
private struct Quantised {
    let n: Int, k: Int
    let packed: Guarded<Int8>, scales: Floats

    init(_ w: [Float], _ n: Int, _ k: Int, type: Int32 = f32, pool: OpaquePointer? = nil) {
        (self.n, self.k) = (n, k)
        packed = Guarded(Int(ck_packed_count(Int64(n), Int64(k))))
        scales = Floats(n, offset: 1)
        let stored = weights(w, type).bytes
        ck_quantise_matrix(pool, type, stored.p, Int64(n), Int64(k), packed.p, scales.p)
        #expect(stored.intact)
        #expect(packed.intact && scales.intact)
    }

    /// The whole number at row `j`, column `p`, found through the layout that ck_pack_matrix has: that of f32 moves the numbers of
    /// places.
    func numbers() -> [Int8] {
        guard n > 0, k > 0 else { return [] }
        let places = (0..<n * k).map(Float.init)
        let order = Floats(packed.count)
        ck_pack_matrix(nil, f32, places, Int64(n), Int64(k), order.p)
        var found = [Int8](repeating: 0, count: n * k)
        // Missing columns repeat the last one, so the first of equal places is the column itself.
        for index in (0..<packed.count).reversed() { found[Int(order.p[index])] = packed.p[index] }
        return found
    }

    /// y and, row by row, the same with the gap between rows untouched.
    func product(
        _ x: [Float], _ m: Int, bias: [Float]? = nil, act: Int32 = noActivation, pool: OpaquePointer? = nil,
        threads: Int32 = 1
    ) -> [Float] {
        let (ldy, layout, rows) = (n + 3, Int32(CK_PACKED), Int32(CK_ROWS_OF_MATRIX))
        let (input, out) = (Floats(x), Floats(m * ldy, offset: 1))
        let scratch = Guarded<UInt8>(ck_linear_scratch(threads, Int64(k), int8, rows, layout))
        let offset = bias.map { Floats($0, offset: 1) }
        var args = ck_linear_args(
            x: input.p, ldx: Int64(k), w: packed.p, dtype: int8, bias: offset.map { UnsafePointer($0.p) }, y: out.p,
            ldy: Int64(ldy), m: Int64(m), n: Int64(n), k: Int64(k), act: act, scratch: scratch.p, rows: rows,
            layout: layout, scales: scales.p)
        ck_linear(pool, &args)
        for r in 0..<m { for i in n..<ldy { #expect(out.p[r * ldy + i].bitPattern == 0xA5A5_A5A5) } }
        #expect(out.intact && scratch.intact)
        return (0..<m * n).map { out.p[$0 / n * ldy + $0 % n] }
    }
}

extension Kernels {
    @Suite struct QuantisedWeights {
        /// |w - q scale| is at most half a scale, and what dividing in f32 rounds: 127 half units in the last place.
        @Test(arguments: [f32, f16, bf16]) func elementsAreTheNearest(type: Int32) {
            var random = Numbers(5)
            for n in [0, 1, 2, 15, 16, 17, 33] {
                for k in [0, 1, 2, 3, 4, 5, 31, 64, 65, 257, 300] {
                    var values = random.floats(n * k, 3)
                    if n > 2 { for p in 0..<k { values[k + p] = 0 } }
                    let exact = weights(values, type).exact
                    var bits: [[Int8]] = []
                    for threads: Int32 in [0, 3] {
                        withPool(threads) { pool in
                            onEachISA { _ in
                                let q = Quantised(values, n, k, type: type, pool: pool)
                                let numbers = q.numbers()
                                bits.append(numbers)
                                for j in 0..<n {
                                    let row = exact[j * k..<(j + 1) * k]
                                    let scale = q.scales.p[j]
                                    #expect(scale == (row.map(abs).max() ?? 0) / 127, "row \(j) of \(n)x\(k)")
                                    for (w, number) in zip(row, numbers[j * k..<(j + 1) * k]) {
                                        let error = abs(Double(w) - Double(number) * Double(scale))
                                        #expect(error <= Double(scale) * (0.5 + 127 * 0x1p-24), "\(w) is \(number)")
                                        #expect(number != -128)
                                    }
                                }
                            }
                        }
                    }
                    #expect(bits.allSatisfy { $0 == bits[0] }, "\(n)x\(k) type \(type)")
                }
            }
        }

        /// Ties go to even; subnormal rows keep their bound; NaN and infinity are kept as NaN of their own output only.
        @Test func rareRows() {
            let least = Float.leastNonzeroMagnitude, normal = Float.leastNormalMagnitude
            let rows: [[Float]] = [
                [127, 0.5, 1.5, -2.5], [least, -least, 0, 3 * least], [normal, normal / 2, 0, 200 * least],
                [0, -0, 0, 0],
                [.nan, 1, 2, 3], [1, -.infinity, 2, 3], [.greatestFiniteMagnitude, 1, 0, -.greatestFiniteMagnitude],
            ]
            onEachISA { isa in
                let q = Quantised(rows.flatMap(\.self), rows.count, 4)
                let numbers = q.numbers()
                #expect(Array(numbers[0..<4]) == [127, 0, 2, -2] && q.scales.p[0] == 1)
                for j in [1, 2] {
                    #expect(q.scales.p[j] == normal)
                    for (w, number) in zip(rows[j], numbers[4 * j..<4 * j + 4]) {
                        #expect(abs(Double(w) - Double(number) * Double(normal)) <= Double(normal) / 2)
                    }
                }
                #expect(q.scales.p[3] == 0 && q.scales.p[4].isNaN && q.scales.p[5].isNaN)
                #expect(numbers[12..<24].allSatisfy { $0 == 0 })
                #expect(Array(numbers[24...]) == [127, 0, 0, -127])
                for m in [1, 30, 60] {
                    let y = q.product([Float](repeating: 1, count: 4 * m), m)
                    for r in 0..<m {
                        let row = y[7 * r..<7 * r + 7].map(\.self)
                        #expect(row[0] == 127 && row[3] == 0 && row[4].isNaN && row[5].isNaN, "\(isaName(isa))")
                    }
                }
            }
        }

        /// Against sums in double precision over what the whole numbers stand for.
        @Test func smallShapes() {
            var random = Numbers(31)
            for n in [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 65] {
                for k in [0, 1, 2, 3, 7, 8, 9, 17, 33] {
                    let q = Quantised(random.floats(n * k), n, k)
                    let exact = zip(q.numbers(), 0...).map { Double($0) * Double(q.scales.p[$1 / max(k, 1)]) }
                    for m in [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 24, 25, 49] {
                        let x = random.floats(m * k)
                        let bias = (m + n + k) % 3 == 0 ? nil : random.floats(n)
                        var want: [Double] = []
                        for r in 0..<m {
                            for j in 0..<n {
                                want.append(
                                    (0..<k).reduce(Double(bias?[j] ?? 0)) {
                                        $0 + Double(x[r * k + $1]) * exact[j * k + $1]
                                    })
                            }
                        }
                        onEachISA { isa in
                            let worst = worstError(q.product(x, m, bias: bias), want)
                            #expect(worst <= 2e-6, "\(isaName(isa)) \(m)x\(n)x\(k): \(worst)")
                        }
                    }
                }
            }
        }

        /// Few rows, panels and blocks: a row's bits are the same in all of them, on any number of threads.
        @Test func rowsDoNotDependOnTheirNeighbours() {
            var random = Numbers(33)
            for (n, k) in [(1, 5), (17, 300), (130, 513), (352, 260), (330, 600)] {
                let q = Quantised(random.floats(n * k), n, k)
                let (x, bias) = (random.floats(200 * k), random.floats(n))
                onEachISA { isa in
                    let all = q.product(x, 200, bias: bias, act: silu)
                    for (first, m) in [(0, 1), (3, 2), (5, 3), (7, 6), (9, 13), (4, 24), (4, 25), (50, 47), (20, 150)] {
                        let rows = Array(x[first * k..<(first + m) * k])
                        for threads: Int32 in [1, 3] {
                            withPool(threads) { pool in
                                let part = q.product(rows, m, bias: bias, act: silu, pool: pool, threads: threads)
                                #expect(
                                    part == Array(all[first * n..<(first + m) * n]),
                                    "\(isaName(isa)) \(m) of \(n)x\(k), \(threads) threads")
                            }
                        }
                    }
                }
            }
        }
    }
}

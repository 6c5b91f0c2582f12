import CKernels
import Glibc
import Testing

private func reference(_ act: Int32, _ x: Double) -> Double {
    switch act {
    case geluTanh: 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    case geluErf: 0.5 * x * erfc(-x * 0.5.squareRoot())
    case silu: x / (1 + exp(-x))
    case geluQuick: x / (1 + exp(-1.702 * x))
    case relu: max(x, 0)
    default: x
    }
}

extension Kernels {
    @Suite struct Elementwise {
        @Test(arguments: [noActivation, geluTanh, geluErf, silu, geluQuick, relu]) func activationIsAccurate(act: Int32)
        {
            let inputs =
                stride(from: Float(-30), through: 30, by: 0.00037).map { $0 } + [
                    1e-30, -1e-30, 0, 1e20, -1e20, 88, 89, 100,
                ]
            onEachISA { isa in
                let out = Floats(inputs.count)
                ck_activation(nil, act, inputs, out.p, Int64(inputs.count))
                var worst = 0.0
                for (x, y) in zip(inputs, out.values) {
                    let want = reference(act, Double(x))
                    worst = max(worst, abs(Double(y) - want) / max(1, abs(want)))
                }
                #expect(worst <= 1e-6 && out.intact, "\(isaName(isa)) \(worst)")
            }
        }

        @Test func activationOfSpecialValues() {
            let inputs: [Float] = [.nan, .infinity, 0, -0.0, 1e30, -1e30]
            onEachISA { _ in
                for act in [geluTanh, geluErf, silu, geluQuick, relu] {
                    let out = Floats(inputs.count)
                    ck_activation(nil, act, inputs, out.p, Int64(inputs.count))
                    #expect(out.p[0].isNaN && out.p[1] == .infinity && out.p[2] == 0 && out.p[3] == 0)
                    #expect(out.p[4] == 1e30 && out.p[5] == 0)
                }
            }
        }

        /// An element's bits depend on its value alone: not on where it stands, on threads, or on aliasing.
        @Test func activationIgnoresPosition() {
            var random = Numbers(5)
            let values = random.floats(30_011, 6)
            onEachISA { isa in
                for act in [geluTanh, geluErf, silu, geluQuick, relu] {
                    let whole = Floats(values.count)
                    ck_activation(nil, act, values, whole.p, Int64(values.count))
                    withPool(3) { pool in
                        let inPlace = Floats(values, offset: 5)
                        ck_activation(pool, act, inPlace.p, inPlace.p, Int64(values.count))
                        #expect(inPlace.values == whole.values && inPlace.intact, "\(isaName(isa))")
                    }
                    for (n, start) in zip(smallSizes, 0...) {
                        let part = Floats(n, offset: 1)
                        values.withUnsafeBufferPointer {
                            ck_activation(nil, act, $0.baseAddress! + start, part.p, Int64(n))
                        }
                        #expect(part.values == Array(whole.values[start..<start + n]) && part.intact)
                    }
                }
            }
        }

        @Test func softmaxOfSmallAndExtremeRows() {
            var random = Numbers(6)
            onEachISA { isa in
                for width in smallSizes + [257] {
                    for scale: Float in [1, 60] {
                        let rows = 3
                        let values = random.floats(rows * width, scale)
                        let out = Floats(values, offset: 1)
                        ck_softmax_rows(nil, out.p, out.p, Int64(rows), Int64(width))
                        var want: [Double] = []
                        for r in 0..<rows {
                            let row = values[r * width..<(r + 1) * width].map(Double.init)
                            let top = row.max() ?? 0
                            let e = row.map { exp($0 - top) }
                            let sum = e.reduce(0, +)
                            want += e.map { $0 / sum }
                        }
                        let worst = worstError(out.values, want)
                        #expect(worst <= 3e-7 && out.intact, "\(isaName(isa)) \(width): \(worst)")
                    }
                }
                let minus = -Float.infinity
                for row: [Float] in [
                    [0, minus, 0, minus], [minus, 3e38, minus, minus], Array(repeating: minus, count: 40) + [1],
                ] {
                    let out = Floats(row.count)
                    ck_softmax_rows(nil, row, out.p, 1, Int64(row.count))
                    for i in row.indices where row[i] == minus { #expect(out.p[i] == 0) }
                    #expect(abs(out.values.reduce(0, +) - 1) < 1e-6)
                }
                for n in [1, 5, 20, 40] {
                    var row = [Float](repeating: 1, count: n)
                    row[n - 1] = .nan
                    let out = Floats(n)
                    ck_softmax_rows(nil, row, out.p, 1, Int64(n))
                    #expect(out.values.allSatisfy { $0.isNaN })
                }
            }
        }

        @Test func sumsAndProductsRoundLikeSeparateOperations() {
            var random = Numbers(7)
            onEachISA { _ in
                for n in smallSizes + [100_000] {
                    let x = random.floats(n)
                    let y = random.floats(n)
                    let a = random.float()
                    let b = random.float()
                    withPool(n > 1000 ? 2 : 0) { pool in
                        let out = Floats(x, offset: 1)
                        ck_axpby(pool, a, out.p, b, y, out.p, Int64(n))
                        #expect(out.values == zip(x, y).map { a * $0 + b * $1 } && out.intact)
                        let sum = Floats(y, offset: 2)
                        ck_add(pool, x, sum.p, sum.p, Int64(n))
                        #expect(sum.values == zip(x, y).map { $0 + $1 } && sum.intact)
                    }
                }
            }
        }

        @Test func rowOperationsUseTheirSamplesRow() {
            var random = Numbers(8)
            onEachISA { _ in
                for width in [1, 3, 8, 17, 300] {
                    let samples = 3
                    let each = 4
                    let rows = samples * each
                    let stride = width + 5
                    let x = random.floats(rows * width)
                    let a = random.floats(rows * width)
                    let gate = random.floats(samples * stride)
                    for threads: Int32 in [0, 2] {
                        withPool(threads) { pool in
                            let out = Floats(x)
                            ck_gated_add(
                                pool, out.p, a, gate, Int64(stride), out.p, Int64(rows), Int64(width), Int64(each))
                            var want: [Float] = []
                            for r in 0..<rows {
                                for i in 0..<width {
                                    let product = gate[r / each * stride + i] * a[r * width + i]
                                    want.append(x[r * width + i] + product)
                                }
                            }
                            #expect(out.values == want && out.intact)
                            let table = Array(a[0..<width])
                            let sum = Floats(rows * width)
                            ck_add_rows(pool, x, table, sum.p, Int64(rows), Int64(width))
                            #expect(sum.values == x.indices.map { x[$0] + table[$0 % width] } && sum.intact)
                        }
                    }
                }
                let long = random.floats(2 * 70_000)
                let table = random.floats(70_000)
                withPool(2) { pool in
                    let out = Floats(long)
                    ck_add_rows(pool, out.p, table, out.p, 2, 70_000)
                    #expect(out.values == long.indices.map { long[$0] + table[$0 % 70_000] })
                }
            }
        }

        @Test func nonFiniteElementsAreFoundAnywhere() {
            onEachISA { _ in
                for n in smallSizes {
                    let x = Floats([Float](repeating: 3e38, count: n), offset: 1)
                    #expect(ck_all_finite(nil, x.p, Int64(n)) == 1)
                    for i in 0..<n {
                        for bad in [Float.nan, .infinity, -.infinity] {
                            x.p[i] = bad
                            #expect(ck_all_finite(nil, x.p, Int64(n)) == 0)
                        }
                        x.p[i] = -0.0
                    }
                }
                withPool(2) { pool in
                    var x = [Float](repeating: 1, count: 200_000)
                    #expect(ck_all_finite(pool, x, 200_000) == 1)
                    x[199_999] = .nan
                    #expect(ck_all_finite(pool, x, 200_000) == 0)
                }
            }
        }
    }
}

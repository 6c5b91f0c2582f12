import CKernels
import Testing

extension Kernels {
    /// Few rows take packed weights as they stream by, with the bits of the other ways: `linear` compares.
    @Suite struct FewRows {
        @Test(arguments: [f32, f16, bf16]) func smallWeights(type: Int32) {
            var random = Numbers(23)
            for (n, k) in [(1, 5), (15, 256), (16, 257), (17, 300), (129, 513), (260, 70)] {
                let (w, exact) = weights(random.floats(n * k), type)
                for m in [1, 2, 3, 4, 6, 7, 12, 13, 24, 25] {
                    let x = random.floats(m * k)
                    let bias = m % 2 == 0 ? nil : random.floats(n)
                    let want = product(x, exact, bias, m, n, k)
                    for threads: Int32 in [1, 3] {
                        withPool(threads) { pool in
                            onEachISA { isa in
                                let y = linear(
                                    pool, threads: threads, x: x, w: w, type: type, bias: bias, m: m, n: n, k: k,
                                    rows: Int32(CK_ROWS_OF_MATRIX))
                                #expect(worstError(y.values, want) <= 1e-5, "\(isaName(isa)) \(m)x\(n)x\(k)")
                            }
                        }
                    }
                }
            }
        }

        /// Weights that no cache keeps: every tile of rows, and both sides of the limit.
        @Test(arguments: [f32, f16, bf16]) func largeWeights(type: Int32) {
            var random = Numbers(24)
            let (n, k) = (1045, 1031)
            let (w, _) = weights(random.floats(n * k), type)
            let bias = random.floats(n)
            for m in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 25, 48, 59, 60, 61, 97] {
                let x = random.floats(m * k)
                withPool(3) { pool in
                    onEachISA { _ in
                        _ = linear(
                            pool, threads: 3, x: x, w: w, type: type, bias: m % 2 == 0 ? nil : bias, m: m, n: n, k: k,
                            act: m % 3 == 0 ? silu : noActivation, rows: Int32(CK_ROWS_OF_MATRIX))
                    }
                }
            }
        }
    }
}

import CKernels
import Testing

extension Kernels {
    /// Every element is one chain of multiply-adds in the order of k for each block of it, whatever tile it falls into: full ones and
    /// those with fewer rows or columns, rows in place or packed, and on every instruction set that has multiply-adds the same.
    @Suite struct Tiles {
        static let widths = [1, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 49, 72]

        @Test(arguments: [f32, bf16]) func elementsAreChains(type: Int32) {
            var random = Numbers(25)
            for k in [1, 3, 4, 7, 13, 300] {
                for n in Self.widths {
                    let (w, exact) = weights(random.floats(n * k), type)
                    let bias = random.floats(n)
                    let x = random.floats(13 * k)
                    let want = [false, true].map { chains(x, exact, bias, 13, n, k, fused: $0) }
                    onEachISA { isa in
                        for m in 1...13 {
                            let y = linear(
                                nil, threads: 1, x: Array(x[..<(m * k)]), w: w, type: type, bias: bias, m: m, n: n,
                                k: k,
                                rows: Int32(CK_ROWS_OF_MATRIX))
                            #expect(
                                y.values == Array(want[isFused(isa) ? 1 : 0][..<(m * n)]),
                                "\(isaName(isa)) \(m)x\(n)x\(k)")
                        }
                    }
                }
            }
        }

        /// Wide and tall enough for blocks of packed rows, with a remainder of each width.
        @Test func elementsOfBlocksAreChains() {
            var random = Numbers(26)
            for (m, n, k) in [(49, 321, 40), (61, 344, 9), (59, 345, 300)] {
                let (w, exact) = weights(random.floats(n * k), f32)
                let (x, bias) = (random.floats(m * k), random.floats(n))
                let want = [false, true].map { chains(x, exact, bias, m, n, k, fused: $0) }
                onEachISA { isa in
                    let y = linear(
                        nil, threads: 1, x: x, w: w, type: f32, bias: bias, m: m, n: n, k: k,
                        rows: Int32(CK_ROWS_OF_MATRIX))
                    #expect(y.values == want[isFused(isa) ? 1 : 0], "\(isaName(isa)) \(m)x\(n)x\(k)")
                }
            }
        }

        private func isFused(_ isa: Int32) -> Bool {
            #if arch(x86_64)
            isa != Int32(CK_ISA_BASE)
            #else
            true
            #endif
        }

        /// x w^T + bias as the kernels promise it, blocks of at most 256 along k.
        private func chains(
            _ x: [Float], _ w: [Float], _ bias: [Float], _ m: Int, _ n: Int, _ k: Int, fused: Bool
        ) -> [Float] {
            let blocks = (k + 255) / 256
            let depth = blocks <= 1 ? k : ((k + blocks - 1) / blocks + 7) / 8 * 8
            var out: [Float] = []
            for r in 0..<m {
                for j in 0..<n {
                    var total: Float = 0
                    for first in stride(from: 0, to: k, by: depth) {
                        var sum: Float = 0
                        for p in first..<min(first + depth, k) {
                            let (a, b) = (x[r * k + p], w[j * k + p])
                            sum = fused ? sum.addingProduct(a, b) : sum + a * b
                        }
                        total = first == 0 ? sum : sum + total
                    }
                    out.append(total + bias[j])
                }
            }
            return out
        }
    }
}

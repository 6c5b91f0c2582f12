import CKernels
import COpenBLAS
import Glibc
import Testing

extension Kernels {
    @Suite struct Linear {
        /// OpenBLAS, called directly, is the reference for sizes beyond the reach of a plain loop.
        @Test(arguments: [(49, 384, 128), (16, 65, 33), (100, 200, 700)]) func agreesWithOpenBLAS(
            m: Int, n: Int, k: Int
        ) {
            openblas_set_num_threads(1)
            var random = Numbers(7)
            let (x, w) = (random.floats(m * k), random.floats(n * k))
            var reference = [Float](repeating: 0, count: m * n)
            cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, Int32(m), Int32(n), Int32(k), 1, x, Int32(k), w, Int32(k), 0,
                &reference, Int32(n))
            let want = reference.map(Double.init)
            let own = linear(nil, threads: 1, x: x, w: weights(w, f32).0, type: f32, bias: nil, m: m, n: n, k: k)
            #expect(worstError(own.values, want) <= 1e-5)
        }

        /// A vector's result has the same bits in any batch, on both kernels, when the caller says what rows are.
        @Test(arguments: [Int32(CK_ROWS_OF_MATRIX), Int32(CK_ROWS_ARE_VECTORS)]) func rowsDoNotSeeTheBatch(rows: Int32)
        {
            var random = Numbers(9)
            let (n, k) = (50, 131)
            let x = random.floats(20 * k)
            let w = weights(random.floats(n * k), f32).0
            onEachISA { isa in
                let all = linear(nil, threads: 1, x: x, w: w, type: f32, bias: nil, m: 20, n: n, k: k, rows: rows)
                for row in 0..<20 {
                    let one = linear(
                        nil, threads: 1, x: Array(x[row * k..<(row + 1) * k]), w: w, type: f32, bias: nil, m: 1, n: n,
                        k: k,
                        rows: rows)
                    #expect(one.values == Array(all.values[row * n..<(row + 1) * n]), "\(isaName(isa)) row \(row)")
                }
            }
        }

        @Test(arguments: [f32, f16, bf16]) func smallShapes(type: Int32) {
            var random = Numbers(21)
            for m in [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 17, 25] {
                for n in [0, 1, 2, 3, 7, 8, 9, 17, 33, 65] {
                    for k in [0, 1, 2, 3, 7, 8, 9, 17, 33] {
                        let x = random.floats(m * k)
                        let (w, exact) = weights(random.floats(n * k), type)
                        let bias = (m + n + k) % 3 == 0 ? nil : random.floats(n)
                        let want = product(x, exact, bias, m, n, k)
                        onEachISA { isa in
                            let y = linear(nil, threads: 1, x: x, w: w, type: type, bias: bias, m: m, n: n, k: k)
                            let worst = worstError(y.values, want)
                            #expect(worst <= 2e-6, "\(isaName(isa)) \(m)x\(n)x\(k): \(worst)")
                        }
                    }
                }
            }
        }

        /// Shapes that cross every block boundary, with each activation, on several threads.
        @Test func largerShapes() {
            var random = Numbers(22)
            for (m, n, k) in [
                (9, 200, 400), (49, 385, 129), (130, 193, 770), (8, 300, 1001), (3, 513, 300), (1, 1000, 777),
                // Wide enough for blocks of packed rows: one and several of them, with remainders in every direction.
                (265, 330, 260), (53, 340, 600), (300, 352, 515), (600, 321, 270), (48, 1000, 3),
            ] {
                let act = [noActivation, geluTanh, geluErf, silu][(m + n) % 4]
                let type = [f32, f16, bf16][(n + k) % 3]
                let x = random.floats(m * k)
                let (w, exact) = weights(random.floats(n * k, 0.1), type)
                let bias = random.floats(n)
                let pre = product(x, exact, bias, m, n, k).map { Float($0) }
                let want = Floats(m * n)
                ck_activation(nil, act, pre, want.p, Int64(m * n))
                for threads: Int32 in [1, 2, 3, 5] {
                    withPool(threads) { pool in
                        onEachISA { isa in
                            let y = linear(
                                pool, threads: threads, x: x, w: w, type: type, bias: bias, m: m, n: n, k: k, act: act)
                            let worst = worstError(y.values, want.values.map { Double($0) })
                            #expect(worst <= 1e-5, "\(isaName(isa)) \(m)x\(n)x\(k): \(worst)")
                        }
                    }
                }
            }
        }

        /// The promise that batching, threads and row position change no bit.
        @Test func rowsDoNotDependOnTheirNeighbours() {
            var random = Numbers(23)
            onEachISA { isa in
                for (n, k) in [(130, 129), (200, 1000), (37, 50)] {
                    let rows = 98
                    let x = random.floats(rows * k)
                    let (w, _) = weights(random.floats(n * k), f32)
                    let bias = random.floats(n)
                    let all = linear(
                        nil, threads: 1, x: x, w: w, type: f32, bias: bias, m: rows, n: n, k: k, act: geluTanh
                    ).values
                    withPool(3) { pool in
                        let shared = linear(
                            pool, threads: 3, x: x, w: w, type: f32, bias: bias, m: rows, n: n, k: k, act: geluTanh)
                        #expect(shared.values == all, "\(isaName(isa)) threads")
                    }
                    for (first, count) in [(49, 49), (0, 9), (13, 10), (3, 11), (50, 12), (89, 9)] {
                        let part = linear(
                            nil, threads: 1, x: Array(x[first * k..<(first + count) * k]), w: w, type: f32, bias: bias,
                            m: count, n: n, k: k, act: geluTanh)
                        #expect(
                            part.values == Array(all[first * n..<(first + count) * n]), "\(isaName(isa)) rows \(first)")
                    }
                    let few = linear(
                        nil, threads: 1, x: Array(x[0..<8 * k]), w: w, type: f32, bias: bias, m: 8, n: n, k: k
                    ).values
                    for count in 1...7 {
                        let part = linear(
                            nil, threads: 1, x: Array(x[k..<(1 + count) * k]), w: w, type: f32, bias: bias, m: count,
                            n: n, k: k)
                        #expect(part.values == Array(few[n..<(1 + count) * n]), "\(isaName(isa)) few \(count)")
                    }
                }
            }
        }
    }

    @Suite struct Attention {
        /// Fused [T, 3, H, dh] input for self-attention; separate lengths otherwise.
        @Test(arguments: [0, 2] as [Int32]) func againstDouble(threads: Int32) {
            var random = Numbers(31)
            withPool(threads) { pool in
                onEachISA { isa in
                    for (batch, heads, queries, keys, width) in [
                        (1, 1, 1, 1, 1), (2, 3, 7, 7, 5), (1, 2, 49, 49, 32), (2, 1, 17, 33, 72), (1, 1, 130, 700, 8),
                        (1, 2, 3, 1, 16), (1, 1, 65, 1400, 9), (2, 2, 70, 1601, 40), (1, 1, 600, 2100, 18),
                        (1, 1, 30, 1550, 300), (2, 3, 80, 900, 12), (1, 1, 150, 450, 260),
                    ] {
                        let fused = queries == keys
                        let d = heads * width
                        let row = fused ? 3 * d : d
                        let q = Floats(random.floats(batch * queries * row, 2))
                        let k = fused ? q : Floats(random.floats(batch * keys * row, 2))
                        let v = fused ? q : Floats(random.floats(batch * keys * row))
                        let out = Floats(batch * queries * d, offset: 1)
                        let kp = k.p + (fused ? d : 0)
                        let vp = v.p + (fused ? 2 * d : 0)
                        var args = ck_attention_args()
                        (args.q, args.k, args.v, args.out) = (
                            UnsafePointer(q.p), UnsafePointer(kp), UnsafePointer(vp), out.p
                        )
                        (args.q_row, args.k_row, args.v_row, args.out_row) = (
                            Int64(row), Int64(row), Int64(row), Int64(d)
                        )
                        args.q_batch = Int64(queries * row)
                        (args.k_batch, args.v_batch) = (Int64(keys * row), Int64(keys * row))
                        args.out_batch = Int64(queries * d)
                        (args.batch, args.heads, args.queries) = (Int64(batch), Int64(heads), Int64(queries))
                        (args.keys, args.head_dim) = (Int64(keys), Int64(width))
                        args.scale = 1 / Float(width).squareRoot()
                        let scratch = Guarded<UInt8>(ck_attention_scratch(max(threads, 1), &args))
                        args.scratch = UnsafeMutableRawPointer(scratch.p)
                        ck_attention(pool, &args)
                        var want = [Double](repeating: 0, count: batch * queries * d)
                        for b in 0..<batch {
                            for h in 0..<heads {
                                for t in 0..<queries {
                                    var score = [Double](repeating: 0, count: keys)
                                    for s in 0..<keys {
                                        for i in 0..<width {
                                            score[s] +=
                                                Double(q.p[(b * queries + t) * row + h * width + i])
                                                * Double(kp[(b * keys + s) * row + h * width + i])
                                        }
                                        score[s] *= Double(args.scale)
                                    }
                                    let top = score.max()!
                                    let e = score.map { exp($0 - top) }
                                    let sum = e.reduce(0, +)
                                    for i in 0..<width {
                                        var o = 0.0
                                        for s in 0..<keys {
                                            o += e[s] * Double(vp[(b * keys + s) * row + h * width + i])
                                        }
                                        want[(b * queries + t) * d + h * width + i] = o / sum
                                    }
                                }
                            }
                        }
                        let worst = worstError(out.values, want)
                        #expect(
                            worst <= 3e-6, "\(isaName(isa)) \(batch) \(heads) \(queries) \(keys) \(width): \(worst)")
                        #expect(out.intact && scratch.intact)
                    }
                }
            }
        }
    }
}

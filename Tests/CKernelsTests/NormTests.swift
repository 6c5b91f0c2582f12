import CKernels
import Glibc
import Testing

extension Kernels {
    @Suite struct Norms {
        /// Every combination of affine and modulation, against Double.
        @Test func layerNormInAllForms() {
            var random = Numbers(11)
            onEachISA { isa in
                for width in [1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 100, 1152] {
                    let samples = 2
                    let each = 3
                    let rows = samples * each
                    let stride = 2 * width + 1
                    let x = random.floats(rows * width).map { $0 * 3 + 2 }
                    let w = random.floats(width)
                    let b = random.floats(width)
                    let table = random.floats(samples * stride)
                    for form in 0..<16 {
                        var want: [Double] = []
                        for r in 0..<rows {
                            let row = x[r * width..<(r + 1) * width].map(Double.init)
                            let mean = row.reduce(0, +) / Double(width)
                            let variance = row.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(width)
                            for i in 0..<width {
                                var h = (row[i] - mean) / (variance + 1e-5).squareRoot()
                                if form & 1 != 0 { h *= Double(w[i]) }
                                if form & 2 != 0 { h += Double(b[i]) }
                                if form & 4 != 0 { h *= 1 + Double(table[r / each * stride + width + i]) }
                                if form & 8 != 0 { h += Double(table[r / each * stride + i]) }
                                want.append(h)
                            }
                        }
                        let out = Floats(x, offset: 1)
                        w.withUnsafeBufferPointer { w in
                            b.withUnsafeBufferPointer { b in
                                table.withUnsafeBufferPointer { table in
                                    var args = ck_layer_norm_args(
                                        x: out.p, out: out.p, weight: form & 1 != 0 ? w.baseAddress : nil,
                                        bias: form & 2 != 0 ? b.baseAddress : nil,
                                        shift: form & 8 != 0 ? table.baseAddress : nil,
                                        scale: form & 4 != 0 ? table.baseAddress! + width : nil,
                                        mod_stride: Int64(stride), rows_per_sample: Int64(each), rows: Int64(rows),
                                        width: Int64(width), eps: 1e-5)
                                    ck_layer_norm(nil, &args)
                                }
                            }
                        }
                        let worst = worstError(out.values, want)
                        #expect(worst <= 2e-6 && out.intact, "\(isaName(isa)) width \(width) form \(form): \(worst)")
                    }
                }
            }
        }

        @Test func layerNormIgnoresThreadsAndNeighbours() {
            var random = Numbers(12)
            let rows = 300
            let width = 401
            let x = random.floats(rows * width)
            onEachISA { _ in
                let whole = Floats(rows * width)
                let alone = Floats(width)
                withPool(3) { pool in
                    x.withUnsafeBufferPointer { x in
                        var args = ck_layer_norm_args()
                        (args.x, args.out, args.rows, args.width, args.eps) = (
                            x.baseAddress, whole.p, Int64(rows), Int64(width), 1e-6
                        )
                        ck_layer_norm(pool, &args)
                        for r in [0, 1, 150, 299] {
                            (args.x, args.out, args.rows) = (x.baseAddress! + r * width, alone.p, 1)
                            ck_layer_norm(nil, &args)
                            #expect(alone.values == Array(whole.values[r * width..<(r + 1) * width]))
                        }
                    }
                }
            }
        }

        @Test func groupNorm() {
            var random = Numbers(13)
            onEachISA { isa in
                for (channels, groups, area) in [
                    (1, 1, 1), (4, 2, 3), (6, 3, 17), (32, 8, 49), (64, 32, 100), (8, 1, 9),
                ] {
                    for (act, affine, center) in [
                        (noActivation, true, Float(0)), (silu, true, 1), (noActivation, false, 1000),
                    ] {
                        let batch = 2
                        let n = batch * channels * area
                        let x = random.floats(n).map { $0 + center }
                        let w = random.floats(channels)
                        let b = random.floats(channels)
                        var want = [Double](repeating: 0, count: n)
                        let size = channels / groups * area
                        for g in 0..<batch * groups {
                            let part = x[g * size..<(g + 1) * size].map(Double.init)
                            let mean = part.reduce(0, +) / Double(size)
                            let variance = part.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(size)
                            for i in 0..<size {
                                let c = (g * size + i) / area % channels
                                var h = (part[i] - mean) / (variance + 1e-5).squareRoot()
                                if affine { h = h * Double(w[c]) + Double(b[c]) }
                                want[g * size + i] = act == silu ? h / (1 + exp(-h)) : h
                            }
                        }
                        for threads: Int32 in [0, 2] {
                            let out = Floats(x)
                            withPool(threads) { pool in
                                w.withUnsafeBufferPointer { w in
                                    b.withUnsafeBufferPointer { b in
                                        var args = ck_group_norm_args(
                                            x: out.p, out: out.p, weight: affine ? w.baseAddress : nil,
                                            bias: affine ? b.baseAddress : nil, batch: Int64(batch),
                                            channels: Int64(channels), area: Int64(area), groups: Int64(groups),
                                            eps: 1e-5, act: act)
                                        ck_group_norm(pool, &args)
                                    }
                                }
                            }
                            let worst = worstError(out.values, want)
                            #expect(
                                worst <= 2e-6 && out.intact, "\(isaName(isa)) \(channels)/\(groups)x\(area): \(worst)")
                        }
                    }
                }
            }
        }
    }
}

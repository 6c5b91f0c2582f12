import CKernels
import Testing

extension Kernels {
    @Suite struct Layout {
        @Test func embeddingPicksRows() {
            var random = Numbers(51)
            onEachISA { _ in
                for type in [f32, f16, bf16] {
                    for width in [1, 3, 8, 17] {
                        let (table, exact) = weights(random.floats(6 * width), type)
                        let index: [Int64] = [5, 0, 0, 3, 2]
                        let out = Floats(index.count * width, offset: 1)
                        ck_embedding(table.p, type, index, out.p, Int64(index.count), Int64(width))
                        #expect(
                            out.values == index.flatMap { exact[Int($0) * width..<(Int($0) + 1) * width] } && out.intact
                        )
                    }
                }
            }
        }

        @Test func patchesThereAndBack() {
            for threads: Int32 in [0, 2] {
                withPool(threads) { pool in
                    for (batch, channels, gh, gw, p) in [
                        (1, 1, 1, 1, 1), (2, 3, 2, 3, 2), (1, 4, 3, 2, 4), (2, 4, 16, 16, 2), (3, 1, 7, 7, 4),
                    ] {
                        let n = batch * channels * gh * gw * p * p
                        let x = (0..<n).map(Float.init)
                        let patches = Floats(n)
                        let image = Floats(n)
                        ck_patchify(pool, x, patches.p, Int64(batch), Int64(channels), Int64(gh), Int64(gw), Int64(p))
                        // unpatchify wants (dy, dx, channel): reorder the features by hand.
                        var other = [Float](repeating: 0, count: n)
                        var right = true
                        for b in 0..<batch {
                            for t in 0..<gh * gw {
                                for c in 0..<channels {
                                    for dy in 0..<p {
                                        for dx in 0..<p {
                                            let y = t / gw * p + dy
                                            let xx = t % gw * p + dx
                                            let row = (b * gh * gw + t) * channels * p * p
                                            let value = patches.p[row + (c * p + dy) * p + dx]
                                            right = right && value == x[((b * channels + c) * gh * p + y) * gw * p + xx]
                                            other[row + (dy * p + dx) * channels + c] = value
                                        }
                                    }
                                }
                            }
                        }
                        #expect(right && patches.intact)
                        ck_unpatchify(
                            pool, other, image.p, Int64(batch), Int64(channels), Int64(gh), Int64(gw), Int64(p))
                        #expect(image.values == x && image.intact)
                    }
                }
            }
        }

        @Test func transposition() {
            withPool(2) { pool in
                for (batch, rows, cols) in [(1, 0, 3), (1, 1, 1), (2, 3, 5), (1, 16, 17), (3, 33, 15), (2, 130, 70)] {
                    let n = batch * rows * cols
                    let x = (0..<n).map(Float.init)
                    let out = Floats(n, offset: 1)
                    ck_transpose(pool, x, out.p, Int64(batch), Int64(rows), Int64(cols))
                    var right = out.intact
                    for i in 0..<n {
                        let b = i / (rows * cols)
                        let r = i / cols % rows
                        let c = i % cols
                        right = right && out.p[(b * cols + c) * rows + r] == x[i]
                    }
                    #expect(right)
                }
            }
        }

        @Test func enlargement() {
            withPool(2) { pool in
                for (planes, h, w, f) in [(1, 1, 1, 1), (2, 3, 2, 2), (3, 2, 5, 3), (9, 20, 20, 2)] {
                    let x = (0..<planes * h * w).map(Float.init)
                    let out = Floats(planes * h * w * f * f)
                    ck_upsample_nearest(pool, x, out.p, Int64(planes), Int64(h), Int64(w), Int64(f))
                    var right = out.intact
                    for i in 0..<out.count {
                        let ox = i % (w * f)
                        let oy = i / (w * f) % (h * f)
                        let plane = i / (w * f * h * f)
                        right = right && out.p[i] == x[(plane * h + oy / f) * w + ox / f]
                    }
                    #expect(right)
                }
            }
        }

        @Test func bytesAreRoundedToEvenAndClamped() {
            let values: [Float] = [
                -1, -0.5, 0, 0.5, 1.5, 2.5, 3.49, 253.5, 254.5, 255, 255.4, 300, .nan, .infinity, -.infinity, 1e30,
            ]
            let want: [UInt8] = [0, 0, 0, 0, 2, 2, 3, 254, 254, 255, 255, 255, 0, 255, 0, 255]
            onEachISA { isa in
                for count in 1...values.count {
                    let out = Guarded<UInt8>(count, offset: 1)
                    ck_to_u8_nhwc(nil, values, out.p, 1, 1, 1, Int64(count), 1, 0)
                    #expect(out.values == Array(want[0..<count]) && out.intact, "\(isaName(isa))")
                }
                var random = Numbers(52)
                let (batch, channels, h, w) = (2, 3, 5, 7)
                let x = random.floats(2 * 3 * 5 * 7, 1.2)
                let out = Guarded<UInt8>(x.count)
                ck_to_u8_nhwc(nil, x, out.p, Int64(batch), Int64(channels), Int64(h), Int64(w), 127.5, 127.5)
                for i in 0..<out.count {
                    let c = i % channels
                    let pixel = i / channels % (h * w)
                    let b = i / (channels * h * w)
                    let v = (x[(b * channels + c) * h * w + pixel] * 127.5 + 127.5).rounded(.toNearestOrEven)
                    #expect(out.p[i] == UInt8(max(0, min(255, v))))
                }
            }
        }
    }
}

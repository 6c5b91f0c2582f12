import CKernels
import Testing

private struct Shape {
    var batch = 1, inputs = 3, h = 5, w = 6, outputs = 4, kh = 3, kw = 3, stride = 1, top = 1, left = 1, bottom = 1,
        right = 1, up = 1
    var outH: Int { (h * up + top + bottom - kh) / stride + 1 }
    var outW: Int { (w * up + left + right - kw) / stride + 1 }
}

private func reference(_ s: Shape, _ x: [Float], _ w: [Float], _ bias: [Float]?, _ add: [Float]?) -> [Double] {
    var out: [Double] = []
    for b in 0..<s.batch {
        for o in 0..<s.outputs {
            for oy in 0..<s.outH {
                for ox in 0..<s.outW {
                    var sum = Double(bias?[o] ?? 0) + Double(add?[out.count] ?? 0)
                    for c in 0..<s.inputs {
                        for ky in 0..<s.kh {
                            for kx in 0..<s.kw {
                                let iy = oy * s.stride + ky - s.top
                                let ix = ox * s.stride + kx - s.left
                                guard iy >= 0, ix >= 0, iy < s.h * s.up, ix < s.w * s.up else { continue }
                                let line = (b * s.inputs + c) * s.h + iy / s.up
                                let value = Double(x[line * s.w + ix / s.up])
                                let tap = ((o * s.inputs + c) * s.kh + ky) * s.kw + kx
                                sum += value * Double(w[tap])
                            }
                        }
                    }
                    out.append(sum)
                }
            }
        }
    }
    return out
}

/// With `inPlace` the addend is the output itself.
private func convolve(
    _ pool: OpaquePointer?, _ s: Shape, _ x: [Float], _ w: Guarded<UInt8>, _ type: Int32, _ bias: [Float]?,
    _ add: [Float]?, inPlace: Bool, form: Int32 = 0
) -> Floats {
    let input = Floats(x, offset: 1)
    let offset = bias.map { Floats($0) }
    let addend = add.map { Floats($0) }
    let out = inPlace ? Floats(add!) : Floats(s.batch * s.outputs * s.outH * s.outW, offset: 1)
    var a = ck_conv2d_args()
    (a.x, a.w, a.dtype, a.out) = (UnsafePointer(input.p), UnsafeRawPointer(w.p), type, out.p)
    a.bias = offset.map { UnsafePointer($0.p) }
    a.add = inPlace ? UnsafePointer(out.p) : addend.map { UnsafePointer($0.p) }
    (a.batch, a.in_channels, a.h, a.width) = (Int64(s.batch), Int64(s.inputs), Int64(s.h), Int64(s.w))
    (a.out_channels, a.out_h, a.out_w) = (Int64(s.outputs), Int64(s.outH), Int64(s.outW))
    (a.kh, a.kw, a.stride, a.upsample) = (Int64(s.kh), Int64(s.kw), Int64(s.stride), Int64(s.up))
    (a.pad_top, a.pad_left) = (Int64(s.top), Int64(s.left))
    a.form = form
    let scratch = Guarded<UInt8>(ck_conv2d_scratch(ck_pool_threads(pool), &a))
    a.scratch = UnsafeMutableRawPointer(scratch.p)
    ck_conv2d(pool, &a)
    #expect(out.intact && scratch.intact)
    return out
}

private let shapes: [Shape] = [
    Shape(), Shape(batch: 3, kh: 1, kw: 1, top: 0, left: 0, bottom: 0, right: 0),
    Shape(batch: 2, h: 9, w: 7, stride: 2), Shape(h: 8, w: 8, stride: 2, top: 0, left: 0), Shape(up: 2),
    Shape(batch: 2, h: 3, w: 3, kh: 4, kw: 2, stride: 2, up: 2),
    Shape(inputs: 1, h: 1, w: 1, outputs: 1),
    Shape(batch: 5, inputs: 2, h: 2, w: 2, outputs: 3, kh: 2, kw: 2, stride: 2, top: 0, left: 0, bottom: 0, right: 0),
    Shape(inputs: 45, h: 15, w: 14, outputs: 20),
    Shape(batch: 2, inputs: 10, h: 10, w: 10, outputs: 300, kh: 1, kw: 1, top: 0, left: 0, bottom: 0, right: 0),
    Shape(h: 6, w: 6, kh: 7, kw: 7, top: 3, left: 3, bottom: 3, right: 3),
    Shape(h: 4, w: 30, kh: 1, kw: 5, stride: 3, top: 0, left: 4, bottom: 0, right: 4),
    Shape(h: 2, w: 2, kh: 3, kw: 3, top: 5, left: 6, bottom: 5, right: 6),
    Shape(h: 6, w: 5, kh: 1, kw: 1, stride: 2, top: 0, left: 0, bottom: 0, right: 0),
]

private let forms = [Int32(CK_CONV_DIRECT), Int32(CK_CONV_F2), Int32(CK_CONV_F4)]

/// Sizes around those of tiles and strips, more channels than a block of a product has, and enlarged and widely padded ones.
private let transformed: [Shape] =
    (1...9).map { Shape(batch: 2, h: $0, w: 10 - $0) }
    + (1...4).map { Shape(h: $0, w: 5, top: 0, left: 0, bottom: 2, right: 2) }
    + (1...4).map { Shape(batch: 2, inputs: 2, h: $0, w: 7 - $0, up: 2) }
    + [
        Shape(batch: 3, inputs: 5, h: 21, w: 67, outputs: 13), Shape(inputs: 17, h: 2, w: 140, outputs: 2),
        Shape(batch: 2, inputs: 270, h: 9, w: 10, outputs: 30), Shape(inputs: 2, h: 150, w: 130, outputs: 1),
        Shape(h: 2, w: 2, top: 5, left: 6, bottom: 5, right: 6), Shape(inputs: 40, h: 20, w: 20, outputs: 130, up: 2),
    ]

extension Kernels {
    @Suite struct Convolution {
        @Test(arguments: [f32, f16, bf16]) func againstDouble(type: Int32) {
            var random = Numbers(41)
            withPool(2) { pool in
                for (i, s) in shapes.enumerated() {
                    let x = random.floats(s.batch * s.inputs * s.h * s.w)
                    let (w, exact) = weights(random.floats(s.outputs * s.inputs * s.kh * s.kw, 0.3), type)
                    let bias = i % 3 == 0 ? nil : random.floats(s.outputs)
                    let add = i % 2 == 0 ? nil : random.floats(s.batch * s.outputs * s.outH * s.outW)
                    let want = reference(s, x, exact, bias, add)
                    onEachISA { isa in
                        let alone = convolve(nil, s, x, w, type, bias, add, inPlace: false)
                        let worst = worstError(alone.values, want)
                        #expect(worst <= 4e-6, "\(isaName(isa)) \(s): \(worst)")
                        #expect(convolve(pool, s, x, w, type, bias, add, inPlace: add != nil).values == alone.values)
                    }
                }
            }
        }

        /// Rounding errors of an output grow as the root of the number of its terms.
        @Test(arguments: [f32, f16, bf16]) func transformsAgainstDouble(type: Int32) {
            var random = Numbers(43)
            withPool(2) { pool in
                for (i, s) in transformed.enumerated() {
                    let x = random.floats(s.batch * s.inputs * s.h * s.w)
                    let (w, exact) = weights(random.floats(s.outputs * s.inputs * 9, 0.3), type)
                    let bias = i % 3 == 0 ? nil : random.floats(s.outputs)
                    let add = i % 2 == 0 ? nil : random.floats(s.batch * s.outputs * s.outH * s.outW)
                    let want = reference(s, x, exact, bias, add)
                    let most = 1.2e-6 * Double(s.inputs * 9).squareRoot()
                    onEachISA { isa in
                        for form in forms.dropFirst() {
                            let alone = convolve(nil, s, x, w, type, bias, add, inPlace: false, form: form)
                            let worst = worstError(alone.values, want)
                            #expect(worst <= most, "\(isaName(isa)) \(s) \(form): \(worst)")
                            let shared = convolve(pool, s, x, w, type, bias, add, inPlace: add != nil, form: form)
                            #expect(shared.values == alone.values)
                        }
                    }
                }
            }
        }

        /// The root of the mean square of errors of outputs whose own is 1: F(2x2) is as exact as sums are, F(4x4) half as exact.
        @Test func roundingErrorsOfTheForms() {
            var random = Numbers(44)
            let s = Shape(inputs: 320, h: 16, w: 16, outputs: 24)
            let x = random.floats(s.inputs * s.h * s.w, 1.7320508)
            let (w, exact) = weights(random.floats(s.outputs * s.inputs * 9, 1.7320508 / 53.67), f32)
            let want = reference(s, x, exact, nil, nil)
            onEachISA { isa in
                for (form, most) in zip(forms, [1e-6, 1e-6, 2e-6]) {
                    let got = convolve(nil, s, x, w, f32, nil, nil, inPlace: false, form: form).values
                    let squares = zip(got, want).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
                    let error = (squares / Double(want.count)).squareRoot()
                    #expect(error <= most, "\(isaName(isa)) \(form): \(error)")
                }
            }
        }

        @Test func formsAreChosenBySize() {
            func form(_ inputs: Int64, _ side: Int64, _ outputs: Int64, kernel: Int64 = 3, stride: Int64 = 1) -> Int32 {
                var a = ck_conv2d_args()
                (a.batch, a.in_channels, a.out_channels) = (2, inputs, outputs)
                (a.h, a.width, a.out_h, a.out_w) = (side, side, side / stride, side / stride)
                (a.kh, a.kw, a.stride, a.upsample) = (kernel, kernel, stride, 1)
                let chosen = ck_conv2d_form(&a, 0)
                a.batch = 1
                #expect(ck_conv2d_form(&a, 0) == chosen, "a batch decides")
                return chosen
            }
            #expect(form(320, 64, 320) == Int32(CK_CONV_F4) && form(1280, 16, 1280) == Int32(CK_CONV_F4))
            #expect(form(1280, 8, 1280) == Int32(CK_CONV_F2), "few tiles do not repay more weights")
            #expect(form(4, 64, 320) == Int32(CK_CONV_DIRECT) && form(64, 2, 64) == Int32(CK_CONV_DIRECT))
            #expect(form(320, 64, 320, stride: 2) == Int32(CK_CONV_DIRECT) && form(320, 64, 320, kernel: 1) == 0)
        }

        @Test func imagesDoNotDependOnTheirNeighbours() {
            var random = Numbers(42)
            var s = Shape(batch: 3, inputs: 9, h: 11, w: 10, outputs: 20)
            let x = random.floats(s.batch * s.inputs * s.h * s.w)
            let (w, _) = weights(random.floats(s.outputs * s.inputs * 9), f32)
            onEachISA { _ in
                for form in forms {
                    s.batch = 3
                    let all = convolve(nil, s, x, w, f32, nil, nil, inPlace: false, form: form).values
                    s.batch = 1
                    for b in 0..<3 {
                        let size = x.count / 3
                        let part = Array(x[b * size..<(b + 1) * size])
                        let each = all.count / 3
                        #expect(
                            convolve(nil, s, part, w, f32, nil, nil, inPlace: false, form: form).values
                                == Array(all[b * each..<(b + 1) * each]))
                    }
                }
            }
        }
    }
}

import CKernels
import Testing

extension Kernels {
    @Suite struct Casts {
        /// All 65536 patterns, NaN payloads included, against the bits of `base` and the compiler's own conversion.
        @Test func everyHalfWidensExactly() {
            let patterns = (0..<65536).map { UInt16($0) }
            onEachISA { isa in
                let out = Floats(65536)
                ck_to_f32(nil, f16, patterns, out.p, 65536)
                var wrong = 0
                for i in 0..<65536 {
                    let want = Float(Float16(bitPattern: UInt16(i)))
                    if want.isNaN ? !out.p[i].isNaN : out.p[i].bitPattern != want.bitPattern { wrong += 1 }
                }
                #expect(wrong == 0 && out.intact, "\(isaName(isa))")
                ck_to_f32(nil, bf16, patterns, out.p, 65536)
                let exact = (0..<65536).allSatisfy { out.p[$0].bitPattern == UInt32($0) << 16 }
                #expect(exact, "\(isaName(isa))")
            }
        }

        /// Every representable half, the midpoints between neighbours and what lies a bit beside them.
        @Test func narrowingRoundsToNearestEven() {
            var inputs: [Float] = [
                .infinity, -.infinity, .nan, 65519.99, 65520, 65535, 1e10, 1e-8, 0x1p-25, 0x1.000002p-25,
            ]
            for i in 0..<0x7c00 {
                let low = Float(Float16(bitPattern: UInt16(i)))
                let middle = i == 0x7bff ? 65520 : (low + Float(Float16(bitPattern: UInt16(i + 1)))) / 2
                for x in [low, middle, middle.nextUp, middle.nextDown] { inputs += [x, -x] }
            }
            onEachISA { isa in
                let out = Guarded<UInt16>(inputs.count)
                ck_from_f32(nil, f16, inputs, out.p, Int64(inputs.count))
                var wrong = 0
                for (i, x) in inputs.enumerated() {
                    let want = Float16(x)
                    if want.isNaN ? !Float16(bitPattern: out.p[i]).isNaN : out.p[i] != want.bitPattern { wrong += 1 }
                }
                #expect(wrong == 0 && out.intact, "\(isaName(isa)): \(wrong)")
            }
        }

        @Test func instructionSetsAgreeOnEveryBit() {
            var random = Numbers(3)
            let inputs = (0..<100_003).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.bits())) }
            for type in [f16, bf16] {
                var reference: [UInt16] = []
                onEachISA { isa in
                    let out = Guarded<UInt16>(inputs.count, offset: 1)
                    ck_from_f32(nil, type, inputs, out.p, Int64(inputs.count))
                    if reference.isEmpty { reference = out.values }
                    #expect(out.values == reference, "\(isaName(isa)) \(type)")
                }
            }
        }

        @Test func brainFloatRoundsToNearestEven() {
            let cases: [(UInt32, UInt16)] = [
                (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81), (0x7f7f_ffff, 0x7f80),
                (0x7f80_0001, 0x7fc0), (0xff80_0000, 0xff80), (0x0000_8000, 0x0000), (0x0001_8000, 0x0002),
            ]
            onEachISA { _ in
                let out = Guarded<UInt16>(cases.count)
                ck_from_f32(nil, bf16, cases.map { Float(bitPattern: $0.0) }, out.p, Int64(cases.count))
                #expect(out.values == cases.map(\.1))
            }
        }

        @Test func anySizeAndThreadCount() {
            var random = Numbers(4)
            onEachISA { _ in
                for n in smallSizes + [70_000] {
                    let values = random.floats(n)
                    for threads: Int32 in [0, 2] where n > 1000 || threads == 0 {
                        withPool(threads) { pool in
                            for type in [f32, f16, bf16] {
                                let packed = Guarded<UInt8>(n * (type == f32 ? 4 : 2), offset: 2)
                                let back = Floats(n, offset: 3)
                                ck_from_f32(pool, type, values, packed.p, Int64(n))
                                ck_to_f32(pool, type, packed.p, back.p, Int64(n))
                                let limit: Double = type == f32 ? 0 : type == f16 ? 0x1p-11 : 0x1p-8
                                #expect(worstError(back.values, values.map(Double.init)) <= limit)
                                #expect(packed.intact && back.intact)
                            }
                        }
                    }
                }
            }
        }
    }
}

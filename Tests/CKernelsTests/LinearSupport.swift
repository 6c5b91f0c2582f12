import CKernels
import Testing

func product(_ x: [Float], _ w: [Float], _ bias: [Float]?, _ m: Int, _ n: Int, _ k: Int) -> [Double] {
    var out: [Double] = []
    x.withUnsafeBufferPointer { x in
        w.withUnsafeBufferPointer { w in
            for r in 0..<m {
                for j in 0..<n {
                    var sum = Double(bias?[j] ?? 0)
                    for p in 0..<k { sum += Double(x[r &* k &+ p]) * Double(w[j &* k &+ p]) }
                    out.append(sum)
                }
            }
        }
    }
    return out
}

/// A linear layer through the library, with row strides larger than the rows. Products of matrices are made from
/// packed weights too, which must give the same bits.
func linear(
    _ pool: OpaquePointer?, threads: Int32, x: [Float], w: Guarded<UInt8>, type: Int32, bias: [Float]?, m: Int, n: Int,
    k: Int,
    act: Int32 = noActivation, rows wanted: Int32? = nil
) -> Floats {
    let rows = wanted ?? Int32(m <= 8 ? CK_ROWS_ARE_VECTORS : CK_ROWS_OF_MATRIX)
    let out = linear(pool, threads, x, w.p, type, bias, m, n, k, act, rows, layout: Int32(CK_ROW_MAJOR))
    guard rows == CK_ROWS_OF_MATRIX else { return out }
    let size = type == f32 ? 4 : 2
    let packed = Guarded<UInt8>(Int(ck_packed_count(Int64(n), Int64(k))) * size)
    if n > 0 { ck_pack_matrix(pool, type, w.p, Int64(n), Int64(k), packed.p) }
    #expect(packed.intact)
    let again = linear(pool, threads, x, packed.p, type, bias, m, n, k, act, rows, layout: Int32(CK_PACKED))
    #expect(again.values.map(\.bitPattern) == out.values.map(\.bitPattern), "packed \(m)x\(n)x\(k) type \(type)")
    return out
}

func linear(
    _ pool: OpaquePointer?, _ threads: Int32, _ x: [Float], _ w: UnsafeMutablePointer<UInt8>, _ type: Int32,
    _ bias: [Float]?, _ m: Int, _ n: Int, _ k: Int, _ act: Int32, _ rows: Int32, layout: Int32
) -> Floats {
    let ldx = k + 1
    let ldy = n + 3
    let input = Floats(m * ldx)
    let out = Floats(m * ldy, offset: 1)
    for r in 0..<m { for i in 0..<k { input.p[r * ldx + i] = x[r * k + i] } }
    let scratch = Guarded<UInt8>(ck_linear_scratch(threads, Int64(k), type, rows, layout))
    let offset = bias.map { Floats($0, offset: 1) }
    var args = ck_linear_args(
        x: input.p, ldx: Int64(ldx), w: w, dtype: type, bias: offset.map { UnsafePointer($0.p) }, y: out.p,
        ldy: Int64(ldy), m: Int64(m), n: Int64(n), k: Int64(k), act: act, scratch: scratch.p, rows: rows,
        layout: layout,
        scales: nil)
    ck_linear(pool, &args)
    // The gap between rows is not ours.
    for r in 0..<m { for i in n..<ldy { #expect(out.p[r * ldy + i].bitPattern == 0xA5A5_A5A5) } }
    #expect(out.intact && scratch.intact)
    let dense = Floats(m * n)
    for r in 0..<m { for i in 0..<n { dense.p[r * n + i] = out.p[r * ldy + i] } }
    return dense
}

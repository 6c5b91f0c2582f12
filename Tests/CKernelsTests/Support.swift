import CKernels
import Testing

/// Parent of every suite here. Serialized, because the instruction set and the allocation hooks belong to the process.
@Suite(.serialized) struct Kernels {}

/// Runs `body` on every instruction set of this machine, then returns to the one in use before.
func onEachISA(_ body: (Int32) throws -> Void) rethrows {
    let before = ck_isa_current()
    defer { _ = ck_isa_select(before) }
    for isa in 0..<Int32(CK_ISA_COUNT) where ck_isa_select(isa) == 1 { try body(isa) }
}

func isaName(_ isa: Int32) -> String { String(cString: ck_isa_name(isa)) }

/// SplitMix64: the same numbers in every run.
struct Numbers {
    var state: UInt64
    init(_ seed: Int = 1) { state = UInt64(seed) }
    mutating func bits() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func float(_ scale: Float = 1) -> Float { (Float(bits() >> 40) / Float(1 << 23) - 1) * scale }
    mutating func floats(_ count: Int, _ scale: Float = 1) -> [Float] { (0..<count).map { _ in float(scale) } }
}

/// Elements between two guards, starting `offset` elements behind a cache line. `intact` tells whether a kernel wrote
/// outside; contents before the first write are NaN or 0xA5.
final class Guarded<Element: BitwiseCopyable> {
    let base: UnsafeMutableRawPointer
    let p: UnsafeMutablePointer<Element>
    let count: Int
    private let before: Int, total: Int
    static var guardBytes: Int { 128 }

    init(_ count: Int, offset: Int = 0) {
        self.count = count
        before = Self.guardBytes + offset * MemoryLayout<Element>.stride
        total = before + count * MemoryLayout<Element>.stride + Self.guardBytes
        base = .allocate(byteCount: total, alignment: 64)
        base.initializeMemory(as: UInt8.self, repeating: 0xA5, count: total)
        p = (base + before).assumingMemoryBound(to: Element.self)
    }
    convenience init(_ values: [Element], offset: Int = 0) {
        self.init(values.count, offset: offset)
        for (i, value) in values.enumerated() { p[i] = value }
    }
    deinit { base.deallocate() }

    var values: [Element] { (0..<count).map { p[$0] } }
    var intact: Bool {
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        let end = before + count * MemoryLayout<Element>.stride
        return (0..<before).allSatisfy { bytes[$0] == 0xA5 } && (end..<total).allSatisfy { bytes[$0] == 0xA5 }
    }
}
typealias Floats = Guarded<Float>

/// The largest |got - want| / (1 + |want|); infinite when one is NaN and the other is not.
func worstError(_ got: [Float], _ want: [Double]) -> Double {
    guard got.count == want.count else { return .infinity }
    var worst = 0.0
    for (g, w) in zip(got, want) {
        if g.isNaN || w.isNaN {
            if g.isNaN != w.isNaN { return .infinity }
        } else if Double(g) != w {
            let error = abs(Double(g) - w) / (1 + abs(w))
            worst = error.isNaN ? .infinity : max(worst, error)
        }
    }
    return worst
}

/// A pool for the length of `body`; null for zero threads.
func withPool<R>(_ threads: Int32, _ body: (OpaquePointer?) throws -> R) rethrows -> R {
    let pool = threads == 0 ? nil : ck_pool_create(threads)
    defer { ck_pool_destroy(pool) }
    return try body(pool)
}

let smallSizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 100]

/// Weights in `type` and the floats they stand for.
func weights(_ values: [Float], _ type: Int32) -> (bytes: Guarded<UInt8>, exact: [Float]) {
    let bytes = Guarded<UInt8>(values.count * (type == f32 ? 4 : 2))
    ck_from_f32(nil, type, values, bytes.p, Int64(values.count))
    let exact = Floats(values.count)
    ck_to_f32(nil, type, bytes.p, exact.p, Int64(values.count))
    return (bytes, exact.values)
}

let f32 = Int32(CK_F32)
let f16 = Int32(CK_F16)
let bf16 = Int32(CK_BF16)
let noActivation = Int32(CK_ACT_NONE)
let geluTanh = Int32(CK_ACT_GELU_TANH)
let geluErf = Int32(CK_ACT_GELU_ERF)
let silu = Int32(CK_ACT_SILU)
let geluQuick = Int32(CK_ACT_GELU_QUICK)
let relu = Int32(CK_ACT_RELU)

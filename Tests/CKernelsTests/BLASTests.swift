import CKernels
import COpenBLAS
import Testing

extension Kernels {
    /// OpenBLAS called directly is the reference here, and as the chosen backend it must agree with our kernels.
    @Suite(.serialized) struct BLAS {
        @Test(arguments: [(49, 384, 128), (16, 65, 33), (100, 200, 700)]) func agreesWithOurKernels(m: Int, n: Int, k: Int) {
            openblas_set_num_threads(1)
            var random = Numbers(7)
            let (x, w) = (random.floats(m * k), random.floats(n * k))
            var reference = [Float](repeating: 0, count: m * n)
            cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, Int32(m), Int32(n), Int32(k), 1, x, Int32(k), w, Int32(k), 0,
                &reference, Int32(n))
            let want = reference.map(Double.init)
            let packed = weights(w, f32).0
            let own = linear(nil, threads: 1, x: x, w: packed, type: f32, bias: nil, m: m, n: n, k: k)
            #expect(worstError(own.values, want) <= 2e-6)
        }
    }
}

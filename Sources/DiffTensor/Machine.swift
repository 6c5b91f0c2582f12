import CKernels
import Glibc

/// Facts about the processor and the clock.
public enum Machine {
    /// The instruction set that kernels use: `base`, `avx2`, `avx512` or `neon`.
    public static var instructionSet: String {
        let name = unsafe ck_isa_name(ck_isa_current())
        return unsafe name.flatMap { unsafe String(validatingCString: $0) } ?? "base"
    }

    /// Processors that the calling thread may use now, 1...256: the least of those that are online, those it is allowed to run on
    /// (affinity), and what the CPU quotas of its control groups amount to, rounded up.
    public static var processors: Int { Int(ck_processors()) }

    /// Seconds on the monotonic clock.
    public static var seconds: Double {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }
}

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

    /// Lets other threads run while something is waited for that may need `seconds` more: at most a millisecond, and not at all long
    /// below some microseconds.
    static func rest(_ seconds: Double) {
        guard seconds > 2e-6 else {
            _ = sched_yield()
            return
        }
        var pause = timespec(tv_sec: 0, tv_nsec: Checked.integer((min(seconds, 1e-3) * 1e9).rounded()) ?? 0)
        _ = unsafe nanosleep(&pause, nil)
    }
}

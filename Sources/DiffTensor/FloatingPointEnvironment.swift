import CKernels

/// The thread's floating-point environment, saved while the library computes in the default one (round to nearest,
/// exceptions masked, denormals kept): a host's rounding mode changes neither results nor is it changed.
public struct FloatingPointEnvironment {
    private var saved = ck_fpenv()

    /// Saves the environment and installs the default one.
    public static func enter() -> FloatingPointEnvironment {
        var environment = FloatingPointEnvironment()
        unsafe ck_fpenv_enter(&environment.saved)
        return environment
    }

    /// Installs the saved environment again.
    public func leave() {
        unsafe withUnsafePointer(to: saved) { unsafe ck_fpenv_leave($0) }
    }
}

import CRanks
import Glibc
import Synchronization

/// How a process joins the others that were started with it.
public enum Ranks {
    /// Seconds without a sign of life after which a rank counts as gone, if nothing else is said.
    public static let timeout = 30.0

    private static let joined = Mutex<RankGroup?>(nil)

    /// The processes that a launcher started together (`mpirun -n 3 …`), of which this one is a rank; the same group for every caller.
    ///
    /// All of them have to call it. `plugin` is the path of `libdiffaccel_mpi.so`; nil: where `DIFFACCEL_MPI_PLUGIN` says, else beside the
    /// library. At the end of the process its part is ended in order. MPI is initialised unless the program has done so, which must then
    /// have asked for `MPI_THREAD_SERIALIZED` and finalise it itself.
    ///
    /// Throws `unsupported` with what to do when there is no plug-in or none for this launcher, `cancelled`, and `io` when a rank is gone.
    public static func join(plugin: String? = nil, cancel: CancelFlag = CancelFlag()) throws(DiffError) -> RankGroup {
        try joined.withLock { (joined) throws(DiffError) in
            if let joined { return joined }
            let transport = try PluginTransport(path: plugin)
            let member = unsafe RankMember(
                rank: transport.rank, host: text(cr_host), process: Int(cr_process()), machine: text(cr_machine))
            let group = try RankGroup(transport, as: member, cancel: cancel)
            joined = group
            _ = atexit { Ranks.leave() }
            return group
        }
    }

    private static func leave() { joined.withLock { $0 }?.leave() }

    private static func text(_ write: (UnsafeMutablePointer<CChar>?) -> Void) -> String {
        var characters = [CChar](repeating: 0, count: Int(CR_TEXT))
        unsafe characters.withUnsafeMutableBufferPointer { unsafe write($0.baseAddress) }
        return String(
            decoding: characters.each.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

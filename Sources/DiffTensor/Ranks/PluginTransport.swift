import CRanks

/// Messages over an MPI plug-in, and watched processes: see `ranks_plugin.h`.
@safe
final class PluginTransport: RankTransport {
    let rank: Int, count: Int
    /// Of MPI's counts, which are 32 bits wide; smaller pieces also let messages overtake a long one.
    let messageLimit = 1 << 28
    private let plugin: UnsafePointer<ranks_plugin>
    /// How each rank's process is watched; -1 where it is another machine's.
    private var watches: [Int32] = []
    private var ends: [String?]
    private var room = [UInt8](repeating: 0, count: 4096)

    /// Loads the plug-in and joins the processes that were started together. Throws `unsupported` with what to do.
    init(path: String?) throws(DiffError) {
        var text = [CChar](repeating: 0, count: Int(CR_TEXT))
        let found =
            unsafe path.map { unsafe $0.withCString { unsafe cr_plugin_open($0, &text) } } ?? cr_plugin_open(nil, &text)
        guard let plugin = unsafe found else { throw DiffError(.unsupported, Self.text(text)) }
        var (rank, count): (Int32, Int32) = (0, 0)
        guard unsafe plugin.pointee.join(&rank, &count) == 0, count > 0, rank >= 0, rank < count else {
            throw unsafe DiffError(.unsupported, Self.failure(plugin))
        }
        guard unsafe Int(plugin.pointee.tag_bound) >= RankTag.bound else {
            throw DiffError(.unsupported, "this MPI numbers messages up to \(unsafe plugin.pointee.tag_bound) only")
        }
        unsafe self.plugin = plugin
        (self.rank, self.count) = (Int(rank), Int(count))
        ends = Array(repeating: nil, count: Int(count))
    }

    /// The plug-in's MPI, such as `Open MPI v4.1.4`.
    var library: String { unsafe plugin.pointee.name().flatMap { unsafe String(validatingCString: $0) } ?? "MPI" }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.each.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func failure(_ plugin: UnsafePointer<ranks_plugin>) -> String {
        unsafe plugin.pointee.failure().flatMap { unsafe String(validatingCString: $0) } ?? "MPI failed"
    }

    private var failed: DiffError { unsafe DiffError(.io, Self.failure(plugin)) }

    private func request(_ number: Int32) throws(DiffError) -> Int {
        guard number >= 0 else { throw failed }
        return Int(number)
    }

    func send(_ bytes: UnsafeRawPointer?, _ count: Int, to other: Int, tag: Int) throws(DiffError) -> Int {
        try request(
            unsafe plugin.pointee.send(bytes, Int64(count), Int32(clamping: other), Int32(clamping: tag)))
    }

    func receive(
        _ bytes: UnsafeMutableRawPointer?, _ count: Int, from other: Int, tag: Int
    ) throws(DiffError) -> Int {
        try request(
            unsafe plugin.pointee.receive(bytes, Int64(count), Int32(clamping: other), Int32(clamping: tag)))
    }

    func state(of request: Int) throws(DiffError) -> RankRequestState {
        var count: Int64 = 0
        switch unsafe plugin.pointee.state(Int32(clamping: request), &count) {
        case Int32(RANKS_PENDING): return .pending
        case Int32(RANKS_DONE): return .done(Int(count))
        case Int32(RANKS_WITHDRAWN): return .withdrawn
        default: throw failed
        }
    }

    func withdraw(_ request: Int) { unsafe plugin.pointee.withdraw(Int32(clamping: request)) }

    func waiting(from other: Int) throws(DiffError) -> (tag: Int, count: Int)? {
        var (tag, count): (Int32, Int64) = (0, 0)
        switch unsafe plugin.pointee.waiting(Int32(clamping: other), &tag, &count) {
        case 0: return nil
        case 1: return (Int(tag), Int(count))
        default: throw failed
        }
    }

    func tell(_ message: [UInt8], to other: Int) throws(DiffError) {
        let told = unsafe message.withUnsafeBytes { bytes in
            unsafe plugin.pointee.tell(bytes.baseAddress, Int64(bytes.count), Int32(clamping: other))
        }
        guard told == 0 else { throw failed }
    }

    func heard() throws(DiffError) -> (from: Int, message: [UInt8])? {
        while true {
            var from: Int32 = 0
            let count = unsafe room.withUnsafeMutableBytes { room in
                unsafe plugin.pointee.heard(&from, room.baseAddress, Int64(room.count))
            }
            guard count >= 0 else { throw failed }
            guard count > 0 else { return nil }
            if count <= room.count { return (Int(from), Array(room.each.prefix(Int(count)))) }
            guard count <= Self.largestControl else {
                throw DiffError(.io, "rank \(from) sent a control message of \(count) bytes")
            }
            room = Array(repeating: 0, count: Int(count))
        }
    }

    private static let largestControl = 1 << 26

    func watch(_ members: [RankMember]) {
        let own = members.at(rank)?.machine
        watches = members.map { member in
            member.machine == own && member.rank != rank ? cr_watch(Int32(clamping: member.process)) : -1
        }
        for (rank, watch) in watches.numbered {
            // A neighbour that is not there any more; -2: the system cannot watch, its signs of life remain.
            if watch == -1, members.at(rank)?.machine == own, rank != self.rank { ends.put("ended", at: rank) }
        }
    }

    func end(of other: Int) -> String? {
        if let known = ends.at(other) ?? nil { return known }
        guard let watch = watches.at(other), watch >= 0 else { return nil }
        let ended = cr_ended(watch)
        guard ended > 0 else { return nil }
        let text = ended > 1 ? "was killed by signal \(ended &- 1)" : "ended"
        ends.put(text, at: other)
        return text
    }

    func silence(of other: Int) -> Double { unsafe plugin.pointee.silence(Int32(clamping: other)) }

    func close(orderly: Bool) { unsafe plugin.pointee.leave(orderly ? 1 : 0) }
}

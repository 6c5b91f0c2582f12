import DiffTensor
import Synchronization

/// What was asked of a JSON object while it was read: which members, and which values stood in for absent ones.
///
/// A setting that is never asked for has no effect, and its owner should hear of it. Thread-safe.
public final class KeyRecord: Sendable {
    private struct State {
        var read: Set<String> = []
        var opened: Set<String> = []
        var defaults: [String: JSON] = [:]
    }

    private let state = Mutex(State())

    /// An empty record.
    public init() {}

    func note(_ place: String) { state.withLock { _ = $0.read.insert(place) } }
    func noteObject(_ place: String) { state.withLock { _ = $0.opened.insert(place) } }
    func noteDefault(_ place: String, _ value: JSON) { state.withLock { _ = $0.defaults.put(value, for: place) } }

    func hasRead(_ place: String) -> Bool { state.withLock { $0.read.contains(place) } }
    func hasOpened(_ place: String) -> Bool { state.withLock { $0.opened.contains(place) } }

    /// Values that were taken in place of absent members, by place.
    public var defaults: [String: JSON] { state.withLock { $0.defaults } }
}

extension JSONObject {
    /// The same object with a record of its own, which the objects in it share.
    public var recorded: JSONObject {
        get throws(DiffError) { try JSONObject(.object(members), source: source, path: path, record: KeyRecord()) }
    }

    /// Places of the members that were never asked for, in order; those of objects that were opened one by one. Null members count as
    /// absent. Empty without a record.
    public var unread: [String] {
        guard let record else { return [] }
        var places: [String] = []
        Self.collectUnread(members, path, record, depth: 0, into: &places)
        return places
    }

    // Recursion ends at `Limits.jsonDepth`, as reading does.
    private static func collectUnread(
        _ members: [String: JSON], _ path: String, _ record: KeyRecord, depth: Int, into places: inout [String]
    ) {
        guard depth <= DiffCheckpoint.Limits.jsonDepth else { return }
        for key in members.keys.sorted(by: JSON.precedes).each {
            guard let value = members[key], value != .null else { continue }
            let place = joined(path, key)
            guard record.hasRead(place) else {
                places.append(place)
                continue
            }
            switch value {
            case .object(let inner) where record.hasOpened(place):
                collectUnread(inner, place, record, depth: depth &+ 1, into: &places)
            case .array(let elements):
                for (position, element) in elements.numbered {
                    let place = "\(place)[\(position)]"
                    guard case .object(let inner) = element, record.hasOpened(place) else { continue }
                    collectUnread(inner, place, record, depth: depth &+ 1, into: &places)
                }
            default: break
            }
        }
    }
}

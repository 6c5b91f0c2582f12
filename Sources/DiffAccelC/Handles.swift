import CBoundary
import CDiffAccel
import DiffAccel
import DiffTensor

/// The objects behind the C library's handles.
///
/// A handle is a number, not an address: kind, generation and slot. The kind's leading bits make it no valid address on
/// any 64-bit system, so a host that dereferences one faults at once. Closing bumps the slot's generation: an old handle is
/// recognised forever. A look-up gives a strong reference, so an object lives as long as a call uses it.
enum HandleTable {
    /// What a handle stands for; the raw value is its upper six bits.
    enum Kind: UInt64 {
        case model = 0b100001
        case plan = 0b100010
        case session = 0b100011
        case result = 0b100100
        case trainer = 0b100101
        case tokenizer = 0b100111
        case event = 0b101001

        /// Whether what it stands for can be told to stop from a signal handler.
        var isCancellable: Bool { self == .session || self == .trainer }

        var name: String {
            switch self {
            case .model: "model"
            case .plan: "plan"
            case .session: "session"
            case .result: "result"
            case .trainer: "trainer"
            case .tokenizer: "tokenizer"
            case .event: "event"
            }
        }
    }

    /// One entry of the table. Only touched with the table's lock held, which is more than the checks of exclusive access that
    /// are switched off here would ensure.
    private final class Slot: @unchecked Sendable {
        @exclusivity(unchecked) var generation = cb_first_generation()
        @exclusivity(unchecked) var kind: Kind?
        @exclusivity(unchecked) var object: AnyObject?
        /// The free slot after this one, when this one is free.
        @exclusivity(unchecked) var nextFree: Int?
    }

    private static let slotBits: UInt64 = 22
    private static let generationBits: UInt64 = 36

    // As the members of a slot: touched with the lock held only.
    @exclusivity(unchecked) nonisolated(unsafe) private static var slots: [Slot] = []
    @exclusivity(unchecked) nonisolated(unsafe) private static var firstFree: Int?

    private static func locked<T>(_ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        cb_table_lock()
        defer { cb_table_unlock() }
        return try body()
    }

    /// A handle for `object`. Throws `outOfMemory` when four million handles are open.
    static func insert(_ object: AnyObject, _ kind: Kind) throws(DiffError) -> UInt64 {
        try locked { () throws(DiffError) in
            let (slot, entry) = try vacant()
            let handle = unsafe value(kind, entry.generation, slot)
            guard !kind.isCancellable || cb_cancel_open(UInt32(truncatingIfNeeded: slot), handle) == 1 else {
                throw DiffError(.outOfMemory, "no memory for a \(kind.name)'s cancel word")
            }
            unsafe firstFree = entry.nextFree
            unsafe (entry.kind, entry.object, entry.nextFree) = (kind, object, nil)
            return handle
        }
    }

    /// The first free slot, still in the list of the free ones; a new one when there is none.
    private static func vacant() throws(DiffError) -> (Int, Slot) {
        if let slot = unsafe firstFree, let entry = unsafe slots.at(slot) { return (slot, entry) }
        let slot = unsafe slots.count
        guard slot < 1 << slotBits else { throw DiffError(.outOfMemory, "too many open handles") }
        let entry = Slot()
        unsafe slots.append(entry)
        unsafe firstFree = slot
        return (slot, entry)
    }

    /// The object of `handle`. Throws `invalidHandle`.
    static func object<T: AnyObject>(_ handle: OpaquePointer?, _ kind: Kind, _ type: T.Type) throws(DiffError) -> T {
        let object = try locked { () throws(DiffError) in
            try unsafe find(handle, kind).entry.object
        }
        guard let object = object as? T else {
            throw DiffError(.internal, "a \(kind.name) handle holds something else")
        }
        return object
    }

    /// Takes `handle` out of the table; its object goes with its last user. Throws `invalidHandle`.
    static func remove(_ handle: OpaquePointer?, _ kind: Kind) throws(DiffError) {
        // The object leaves the lock before it may be destroyed: destruction can take long.
        let object = try locked { () throws(DiffError) -> AnyObject? in
            let (slot, entry) = try unsafe find(handle, kind)
            let object = unsafe entry.object
            if kind.isCancellable { cb_cancel_close(UInt32(truncatingIfNeeded: slot)) }
            unsafe entry.generation = max(1, (entry.generation &+ 1) & ((1 << generationBits) - 1))
            unsafe (entry.kind, entry.object, entry.nextFree) = (nil, nil, firstFree)
            unsafe firstFree = slot
            return object
        }
        withExtendedLifetime(object) {}
    }

    private static func find(_ handle: OpaquePointer?, _ kind: Kind) throws(DiffError) -> (slot: Int, entry: Slot) {
        let bits = unsafe bits(handle)
        let slot = Int(bits & ((1 << slotBits) - 1))
        guard let entry = unsafe slots.at(slot), unsafe entry.kind == kind,
            unsafe value(kind, entry.generation, slot) == bits
        else {
            throw DiffError(.invalidHandle, "not an open \(kind.name) handle")
        }
        return (slot, entry)
    }

    private static func value(_ kind: Kind, _ generation: UInt64, _ slot: Int) -> UInt64 {
        kind.rawValue << (slotBits + generationBits) | generation << slotBits | UInt64(truncatingIfNeeded: slot)
    }

    static func bits(_ handle: OpaquePointer?) -> UInt64 { UInt64(UInt(bitPattern: handle)) }
    static func pointer(_ bits: UInt64) -> OpaquePointer? { unsafe OpaquePointer(bitPattern: UInt(bits)) }

    /// Whether the number says that it is of `kind`.
    static func claims(_ bits: UInt64, _ kind: Kind) -> Bool { bits >> (slotBits + generationBits) == kind.rawValue }

    /// The cancel words' slot of a handle, valid or not.
    static func slot(_ bits: UInt64) -> UInt32 { UInt32(bits & ((1 << slotBits) - 1)) }
}

/// Asks what `handle` stands for to stop, when it is open and of `kind`. For signal handlers too: an atomic store, no lock, no text.
func requestCancellation(_ handle: OpaquePointer?, _ kind: HandleTable.Kind) -> Int32 {
    let bits = unsafe HandleTable.bits(handle)
    guard HandleTable.claims(bits, kind) else { return DA_INVALID_HANDLE }
    return cb_cancel_request(HandleTable.slot(bits), bits) == 1 ? DA_OK : DA_INVALID_HANDLE
}

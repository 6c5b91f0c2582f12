import CDiffAccel
import DiffAccel
import DiffTensor

/// A C struct that starts with `struct_size`.
protocol VersionedStruct {
    init()
    var struct_size: UInt32 { get set }
    static var typeName: String { get }
    /// Sizes it had in earlier releases, before members were appended.
    static var earlierSizes: [Int] { get }
    /// Sets members of an empty struct to defaults that are not zero: what they mean where a host does not know them.
    mutating func setDefaults()
}

extension VersionedStruct {
    /// Whether a caller's struct may have `size` bytes: one it had, the one it has, or a longer one of the future.
    static func accepts(_ size: Int) -> Bool {
        size <= 65536 && (size >= MemoryLayout<Self>.stride || earlierSizes.contains(size))
    }
}

extension da_model_options: VersionedStruct {
    static var typeName: String { "da_model_options" }
    static var earlierSizes: [Int] { [56, 64, 72] }
    mutating func setDefaults() { unsafe mask_token = -1 }
}
extension da_forward_options: VersionedStruct {
    static var typeName: String { "da_forward_options" }
    static var earlierSizes: [Int] { [] }
    mutating func setDefaults() {}
}
extension da_session_options: VersionedStruct {
    static var typeName: String { "da_session_options" }
    static var earlierSizes: [Int] { [16] }
    mutating func setDefaults() {}
}
extension da_trainer_options: VersionedStruct {
    static var typeName: String { "da_trainer_options" }
    static var earlierSizes: [Int] { [] }
    mutating func setDefaults() {}
}
extension da_tensor: VersionedStruct {
    static var typeName: String { "da_tensor" }
    static var earlierSizes: [Int] { [] }
    mutating func setDefaults() {}
}

/// The caller's struct at `pointer`, whatever its alignment. Members that it is too short for have their defaults; what is
/// longer must be zero, so that an option this library does not know is refused rather than ignored.
func decode<T: VersionedStruct>(_ pointer: UnsafePointer<T>, _ type: T.Type = T.self) throws(DiffError) -> T {
    let raw = unsafe UnsafeRawPointer(pointer)
    let size = Int(unsafe raw.loadUnaligned(as: UInt32.self))
    let known = MemoryLayout<T>.stride
    guard T.accepts(size) else {
        throw DiffError(
            .invalidArgument,
            "\(T.typeName).struct_size is \(size), expected \(known); fill the struct with its _init function")
    }
    for more in Indices(below: size &- known)
    where unsafe raw.load(fromByteOffset: known &+ more, as: UInt8.self) != 0 {
        throw DiffError(
            .unsupported, "\(T.typeName) has a member at byte \(known &+ more) that this version does not know")
    }
    var value = T()
    value.setDefaults()
    unsafe withUnsafeMutableBytes(of: &value) { bytes in
        if let base = bytes.baseAddress { unsafe base.copyMemory(from: raw, byteCount: min(size, known)) }
    }
    return value
}

/// Where each of `count` structs of an array stands: as far apart as the first one is long, since a host built with a newer
/// header has longer ones. Throws when they are not all of one length.
func elements<T: VersionedStruct>(
    _ array: UnsafeMutablePointer<T>, _ count: Int
) throws(DiffError) -> [UnsafeMutablePointer<T>] {
    let stride = try Int(unsafe decode(UnsafePointer(array)).struct_size)
    var elements = unsafe [array]
    for index in Indices(below: count) where index > 0 {
        let element = unsafe (UnsafeMutableRawPointer(array) + index &* stride).assumingMemoryBound(to: T.self)
        let size = try Int(unsafe decode(UnsafePointer(element)).struct_size)
        guard size == stride else {
            throw DiffError(
                .invalidArgument, "\(T.typeName).struct_size is \(size), in the same array as \(stride)")
        }
        unsafe elements.append(element)
    }
    return unsafe elements
}

/// The same, with `fallback` for null.
func decode<T: VersionedStruct>(_ pointer: UnsafePointer<T>?, or fallback: T) throws(DiffError) -> T {
    guard let pointer = unsafe pointer else {
        var fallback = fallback
        fallback.setDefaults()
        return fallback
    }
    return try unsafe decode(pointer)
}

/// Writes the defaults to the caller's struct of `size` bytes; what is longer than ours becomes zero.
func initialise<T: VersionedStruct>(_ pointer: UnsafeMutablePointer<T>?, _ size: UInt32) throws(DiffError) -> Int32 {
    let target = try unsafe UnsafeMutableRawPointer(out(pointer, T.typeName))
    let known = MemoryLayout<T>.stride
    guard T.accepts(Int(size)) else {
        throw DiffError(.invalidArgument, "\(T.typeName) of \(size) bytes, expected \(known)")
    }
    var value = T()
    value.setDefaults()
    value.struct_size = size
    unsafe withUnsafeBytes(of: &value) { bytes in
        if let base = bytes.baseAddress { unsafe target.copyMemory(from: base, byteCount: min(Int(size), known)) }
    }
    for more in Indices(below: Int(size) &- known) {
        unsafe target.storeBytes(of: 0, toByteOffset: known &+ more, as: UInt8.self)
    }
    return DA_OK
}

/// 0 or 1. Throws for anything else: C has no bool that could be trusted.
func flag(_ value: Int32, _ name: String) throws(DiffError) -> Bool {
    guard value == 0 || value == 1 else { throw DiffError(.invalidArgument, "\(name) must be 0 or 1, found \(value)") }
    return value == 1
}

/// A byte limit from outside as an `Int`; more than an `Int` holds is no limit.
func byteLimit(_ value: UInt64) -> Int { Int(exactly: value) ?? 0 }

/// A thread count from outside.
func threadCount(_ value: Int32) throws(DiffError) -> Int {
    #if CANARY
    // A sum that overflows for the largest option.
    if Canary.session.isArmed && value + 1 == 0 { return 0 }
    #endif
    guard (0...256).contains(value) else {
        throw DiffError(.invalidArgument, "threads must be 0...256, found \(value)")
    }
    return Int(value)
}

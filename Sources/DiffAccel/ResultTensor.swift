public import DiffTensor

/// A named tensor that a run made, row-major, in any of the element types of results.
public struct ResultTensor: Sendable {
    /// Element types of results.
    public enum Element: Sendable {
        case float32, uint8, int64

        /// Bytes per element.
        public var size: Int {
            switch self {
            case .float32: 4
            case .uint8: 1
            case .int64: 8
            }
        }
    }

    /// The name as a constant of the program: its text never moves.
    public let label: StaticString
    /// Extents, slowest axis first.
    public let shape: Shape
    /// Element type.
    public let element: Element
    /// The block that holds the elements.
    public let storage: Storage
    private let start: Int

    /// The name, such as `latents`.
    public var name: String { label.description }

    /// The name as C reads it; valid forever.
    @inline(never)
    public var cName: UnsafePointer<CChar> {
        unsafe UnsafeRawPointer(label.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    /// Bytes of all elements.
    public var byteCount: Int { shape.count &* element.size }

    /// First element.
    public var raw: UnsafeMutableRawPointer? { unsafe storage.base.map { unsafe $0 + start } }

    /// `tensor` under a name.
    init(_ label: StaticString, _ tensor: Tensor) {
        (self.label, shape, element, storage) = (label, tensor.shape, .float32, tensor.storage)
        start = tensor.offset &* 4
    }

    /// `images` under a name.
    init(_ label: StaticString, _ images: ImageBatch) throws(DiffError) {
        shape = try Shape(images.count, images.height, images.width, images.channels)
        (self.label, element, storage, start) = (label, .uint8, images.storage, 0)
    }

    /// Bytes under a name, copied.
    init(_ label: StaticString, _ bytes: [UInt8]) throws(DiffError) {
        storage = try Storage(byteCount: bytes.count, budget: nil)
        if let base = unsafe storage.base {
            unsafe bytes.withUnsafeBytes { source in
                if let from = source.baseAddress { unsafe base.copyMemory(from: from, byteCount: source.count) }
            }
        }
        (self.label, shape, element, start) = (label, try Shape(bytes.count), .uint8, 0)
    }

    /// Integers under a name, copied into a block charged to `budget`. Throws `shape` when the counts differ, and memory errors.
    init(_ label: StaticString, _ integers: [Int], _ shape: Shape, budget: MemoryBudget?) throws(DiffError) {
        guard integers.count == shape.count else {
            throw DiffError(.internal, "\(integers.count) integers for \"\(label)\" of shape \(shape)")
        }
        storage = try Storage(byteCount: shape.count &* 8, budget: budget)
        if let base = unsafe storage.base {
            for (index, value) in integers.numbered {
                unsafe base.storeBytes(of: Int64(value), toByteOffset: index &* 8, as: Int64.self)
            }
        }
        (self.label, self.shape, element, start) = (label, shape, .int64, 0)
    }

    /// The elements as a tensor; nil unless they are f32.
    public var tensor: Tensor? {
        element == .float32 ? try? Tensor(storage, shape, .f32, offset: start / 4) : nil
    }

    /// The elements as integers, copied; empty unless they are i64.
    public var integers: [Int] {
        guard element == .int64, let base = unsafe raw else { return [] }
        return Indices(below: shape.count).map {
            Int(unsafe base.loadUnaligned(fromByteOffset: $0 &* 8, as: Int64.self))
        }
    }

    /// The elements as bytes, copied; empty unless they are u8.
    public var bytes: [UInt8] {
        guard element == .uint8, let base = unsafe raw else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: base, count: shape.count))
    }

    /// The elements as 8-bit images; nil unless they are bytes [n, H, W, C].
    public var images: ImageBatch? {
        guard element == .uint8, shape.rank == 4 else { return nil }
        return ImageBatch(
            count: shape[0], height: shape[1], width: shape[2], channels: shape[3], storage: storage)
    }
}

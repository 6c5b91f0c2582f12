/// What goes into a module or comes out of it, in numbered slots: one tensor for most modules, several for a U-Net's down block
/// (its state, then its skips) or a block of two streams.
public struct Slots: Sendable {
    /// Slot 0, which every module has.
    public var first: Tensor
    /// Slots 1, 2, …
    public var others: [Tensor]

    /// A first slot, and any others in order.
    public init(_ first: Tensor, _ others: [Tensor] = []) { (self.first, self.others) = (first, others) }

    /// Number of slots.
    public var count: Int { 1 &+ others.count }

    /// The tensor in a slot; nil when there is no such slot.
    public subscript(slot: Int) -> Tensor? { slot == 0 ? first : others.at(slot &- 1) }

    /// Bytes of the blocks that these tensors keep alive.
    public var heldBytes: Int {
        others.each.reduce(first.storage.byteCount) { Checked.sum($0, $1.storage.byteCount) }
    }
}

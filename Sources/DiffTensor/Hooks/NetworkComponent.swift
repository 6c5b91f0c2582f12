/// A part of a network that is evaluated by itself, at the same time as the others.
public struct NetworkComponent: Sendable, Equatable {
    /// What it needs of another one in each call.
    public struct Transfer: Sendable, Equatable {
        /// The component that it comes from.
        public let from: Int
        /// Bytes in f32.
        public let bytes: Int

        /// `bytes` from the component of that number.
        public init(from: Int, bytes: Int) { (self.from, self.bytes) = (from, bytes) }
    }

    /// Its modules by their paths in the checkpoint, in the order in which they run.
    public let modules: [String]
    /// Its share of the operations of all components.
    public let share: Double
    /// What comes from others, in the order of their numbers.
    public let receives: [Transfer]

    /// A component of these modules.
    public init(modules: [String], share: Double, receives: [Transfer]) {
        (self.modules, self.share, self.receives) = (modules, share, receives)
    }
}

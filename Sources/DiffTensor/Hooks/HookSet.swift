/// Where a method wants to be asked. Everything it does not name costs nothing; an empty set is the baseline.
public struct HookSet: Sendable, Equatable {
    /// Sites where `module` is asked.
    public var modules = SiteSet()
    /// Attention sites where `attend` is asked.
    public var attention = SiteSet()
    /// Whether `blocks` is asked.
    public var blocks = false
    /// Whether `evaluate` is asked.
    public var evaluations = false
    /// Whether `network` is asked.
    public var networks = false
    /// Whether the method answers questions that a sampler adds in a protocol of its own: see ``Run/methods(_:)``.
    public var extensions = false

    /// Whether all that the method changes while a run goes on belongs to one lane (``Call/lane``) and is out of reach of the others: lanes may
    /// then follow one another in a call, or be evaluated by two threads at once. A run with several lanes refuses a method that asks for
    /// anything and does not say so.
    public var separatesLanes = false

    /// No hooks: the baseline.
    public init() {}

    /// Whether the method asks for nothing: it is then left out of the run, which makes neutral settings equal the
    /// baseline bit for bit by construction.
    public var isEmpty: Bool {
        modules.isEmpty && attention.isEmpty && !blocks && !evaluations && !networks && !extensions
    }
}

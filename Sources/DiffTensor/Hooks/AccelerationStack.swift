/// The methods of a session in order. Around modules and calls the first one is outermost; block plans and attention
/// pass through them first to last.
///
/// Which method is asked where is fixed from ``begin(_:)`` to ``end()``, so forks of a run may ask at the same time.
public final class AccelerationStack: @unchecked Sendable {
    // Unchecked: written by the thread that begins and ends the run, while no fork of it works.

    private struct Layer {
        let method: any Acceleration
        let hooks: HookSet
    }

    private let methods: [any Acceleration]
    private var layers: [Layer] = []
    private var modules = SiteSet()
    private var attention = SiteSet()

    /// A stack of these methods; none is the baseline.
    public init(_ methods: [any Acceleration] = []) { self.methods = methods }

    /// A stack at work that asks `method` at these modules, and nowhere else.
    init(asking method: any Acceleration, at sites: SiteSet) {
        var hooks = HookSet()
        hooks.modules = sites
        (methods, modules) = ([method], sites)
        layers = [Layer(method: method, hooks: hooks)]
    }

    /// Starts a run: every method checks it and says where it wants to be asked.
    public func begin(_ context: SamplingContext) throws(DiffError) {
        layers = []
        modules = SiteSet()
        attention = SiteSet()
        for method in methods.each {
            let hooks = try method.begin(context)
            guard !hooks.isEmpty else { continue }
            guard !hooks.evaluations || !context.isStateful else {
                throw DiffError(
                    .incompatible,
                    "a method evaluates calls in its own way, and these networks remember earlier calls")
            }
            guard hooks.separatesLanes || context.lanes < 2 else {
                throw DiffError(
                    .incompatible,
                    "a method of this plan does not keep the lanes of guidance apart: set guidance_execution to \"batched\""
                )
            }
            layers.append(Layer(method: method, hooks: hooks))
            modules.formUnion(hooks.modules)
            attention.formUnion(hooks.attention)
        }
    }

    /// Ends a run: methods are not asked any more, and what they keep is dropped. Other networks, such as a decoder, may then
    /// use the same run without being taken for the accelerated one.
    public func end() {
        for method in methods.each { method.release() }
        layers = []
        modules = SiteSet()
        attention = SiteSet()
    }

    /// Bytes of tensors kept by all methods.
    public var bytesHeld: Int { layers.each.reduce(0) { $0 &+ $1.method.bytesHeld } }

    /// The parts into which a method divides the work of a call; none where none does.
    var components: [NetworkComponent] {
        for layer in layers.each {
            let components = layer.method.components
            if !components.isEmpty { return components }
        }
        return []
    }

    /// Whether a method may answer with what it kept of an earlier call.
    var mayKeepOutputs: Bool { !modules.isEmpty || layers.each.contains { $0.hooks.evaluations } }

    func wantsModule(_ site: Site) -> Bool { modules.contains(site) }
    func wantsAttention(_ site: Site) -> Bool { attention.contains(site) }

    /// The methods at work that answer the further questions of protocol `type`, in order.
    func methods<Question>(_ type: Question.Type) -> [Question] {
        layers.each.compactMap { layer in layer.hooks.extensions ? layer.method as? Question : nil }
    }

    func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) {
        for layer in layers.each where layer.hooks.blocks { layer.method.blocks(call, list, &plan) }
    }

    func module(
        _ site: Site, _ inputs: Slots, _ run: Run, from level: Int = 0, _ compute: Compute
    ) throws(DiffError) -> Slots {
        var level = level
        while let layer = layers.at(level), !layer.hooks.modules.contains(site) { level &+= 1 }
        guard let layer = layers.at(level) else { return try compute() }
        return try layer.method.module(site, inputs, run) { () throws(DiffError) in
            try module(site, inputs, run, from: level &+ 1, compute)
        }
    }

    func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError) {
        for layer in layers.each where layer.hooks.attention.contains(call.site) {
            try layer.method.attend(&call, run)
        }
    }

    /// The choice of the first method that has one.
    func network(_ call: Call) -> Int {
        for layer in layers.each where layer.hooks.networks { return layer.method.network(call) }
        return call.network
    }

    func evaluate(
        _ call: Call, _ run: Run, from level: Int = 0, _ network: @escaping Evaluate
    ) throws(DiffError) -> Tensor {
        var level = level
        while let layer = layers.at(level), !layer.hooks.evaluations { level &+= 1 }
        guard let layer = layers.at(level) else { return try network(call, run) }
        let inner = level &+ 1
        return try layer.method.evaluate(call, run) { [self] (call, run) throws(DiffError) in
            try evaluate(call, run, from: inner, network)
        }
    }
}

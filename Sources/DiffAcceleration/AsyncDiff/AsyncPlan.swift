public import DiffCheckpoint
public import DiffTensor

/// Asynchronous denoising as data. JSON: `{"method": "async", "components": 2, "stride": 1, "warm_up": 1}`, see ``options``.
public struct AsyncPlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "async"
    /// Calls below which runs are warned about: states of earlier calls are then far from those of the current one.
    public static let fewCalls = 15

    /// Where a network is cut.
    public enum Split: Sendable, Equatable {
        /// The published split of the architecture.
        case official
        /// Components of about as many operations at the size of the run.
        case balanced
        /// Components that take about as long in this session.
        case measured
        /// These modules, by their paths in the checkpoint, are the components. A path stands for all modules below it too.
        case modules([[String]])
    }

    /// What the second prediction of a pair is, when two steps share one exchange.
    public enum Variant: String, Sendable, CaseIterable {
        /// The last component's own, at its own time.
        case paper
        /// The first one again, as the released code does.
        case released
    }

    /// Who evaluates the components. All give the same bits.
    public enum Executor: String, Sendable, CaseIterable {
        /// One after the other.
        case sequential
        /// At the same time, each on a part of the session's threads.
        case threads
        /// At the same time, each in a process of its own: as many ranks as there are ``AsyncPlan/members``.
        case mpi
    }

    /// Components of the network.
    public let components: Int
    /// Steps that share one evaluation of the components.
    public let stride: Int
    /// Calls that are evaluated whole before.
    public let warmUp: Int
    /// Whether components are told the time of the call before.
    public let timeShift: Bool
    /// What the second prediction of a pair is.
    public let variant: Variant
    /// Where the network is cut; nil: officially where there is an official split, else balanced.
    public let split: Split?
    /// Who evaluates the components.
    public let executor: Executor
    /// What elements of tensors are between processes.
    public let wire: RankWire

    /// Processes that an evaluation takes with the executor `mpi`: with stride 2 one makes the first prediction of each pair.
    public var members: Int { components &+ stride &- 1 }

    /// An entry of these settings. Throws `invalidArgument` unless `components` is 2...4 (as many as `split` lists), `stride` 1...2 and
    /// `warmUp` 1 or more.
    public init(
        components: Int, stride: Int = 1, warmUp: Int = 1, timeShift: Bool = false, variant: Variant = .paper,
        split: Split? = nil, executor: Executor = .sequential, wire: RankWire = .f32
    ) throws(DiffError) {
        guard (2...4).contains(components) else {
            throw DiffError(.invalidArgument, "components must be 2...4, found \(components)")
        }
        guard (1...2).contains(stride) else {
            throw DiffError(.invalidArgument, "stride must be 1 or 2, found \(stride)")
        }
        guard (1...1_000_000).contains(warmUp) else {
            throw DiffError(.invalidArgument, "warm_up must be 1...1000000, found \(warmUp)")
        }
        if case .modules(let lists) = split, lists.count != components {
            throw DiffError(
                .invalidArgument,
                "split lists the modules of \(lists.count) components, and components is \(components)")
        }
        (self.components, self.stride, self.warmUp, self.timeShift) = (components, stride, warmUp, timeShift)
        (self.variant, self.split, self.executor, self.wire) = (variant, split, executor, wire)
    }

    private enum Rule: String, CaseIterable {
        case official, balanced, measured
    }

    /// What an entry may say.
    public static let options = [
        OptionSpec(
            "components", .integer(2...4), default: 2, "Parts of the network that are evaluated at the same time."),
        OptionSpec(
            "stride", .integer(1...2), default: 1, "Denoising steps that share one evaluation of the components."),
        OptionSpec(
            "warm_up", .integer(1...1_000_000), default: 1,
            "Calls before, which evaluate the whole network; the more, the closer is the result to that of the plain model."
        ),
        OptionSpec(
            "time_shift", .flag, default: false, "Whether components are told the time of the call before."),
        OptionSpec(
            "variant", .cases(of: Variant.self), default: .string(Variant.paper.rawValue),
            "With stride 2: a second prediction of its own in every pair, or (released) the first one again, as the published code has it."
        ),
        OptionSpec(
            "split", .either([.cases(of: Rule.self), .list(.list(.text), 2...4)]),
            absent: "official where there is a published split of the architecture, else balanced",
            "Where the network is cut: as published, into equal numbers of operations or equal measured times, or the modules of each component by their paths."
        ),
        OptionSpec(
            "executor", .cases(of: Executor.self), default: .string(Executor.sequential.rawValue),
            "Whether components are evaluated one after the other, at once on parts of the session's threads, or at once by the ranks of an MPI program; results are the same."
        ),
        OptionSpec(
            "wire", .cases(of: RankWire.self), default: .string(RankWire.f32.rawValue),
            "With the executor mpi: elements of tensors on their way. bf16 halves what is sent, and results are other ones."
        ),
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        let split: Split? =
            switch json.value("split") {
            case nil: nil
            case .array: .modules(try options.get("split"))
            default:
                switch try options.getCase("split", of: Rule.self) {
                case .official: .official
                case .balanced: .balanced
                case .measured: .measured
                }
            }
        var components: Int = try options.get("components")
        // The lists say how many.
        if case .modules(let lists) = split, !options.has("components") { components = lists.count }
        try self.init(
            components: components, stride: options.get("stride"), warmUp: options.get("warm_up"),
            timeShift: options.get("time_shift"), variant: options.getCase("variant", of: Variant.self), split: split,
            executor: options.getCase("executor", of: Executor.self), wire: options.getCase("wire", of: RankWire.self))
    }

    /// The entry with its `method`.
    public var json: JSON {
        var members: [String: JSON] = [
            "method": .string(Self.method), "components": .integer(components), "stride": .integer(stride),
            "warm_up": .integer(warmUp), "time_shift": .bool(timeShift), "variant": .string(variant.rawValue),
            "executor": .string(executor.rawValue),
        ]
        if wire != .f32 { members.put(.string(wire.rawValue), for: "wire") }
        switch split {
        case nil: break
        case .official: members.put(.string(Rule.official.rawValue), for: "split")
        case .balanced: members.put(.string(Rule.balanced.rawValue), for: "split")
        case .measured: members.put(.string(Rule.measured.rawValue), for: "split")
        case .modules(let lists): members.put(lists.json, for: "split")
        }
        return .object(members)
    }

    /// Throws `incompatible` when the network cannot be cut like that.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first else { return }
        guard layouts.count == 1, !layout.traits.contains(.variesShapes), !layout.traits.contains(.storesKeysAndValues)
        else {
            throw DiffError(
                .incompatible,
                "a \(layout.family) model does not denoise one state from call to call: nothing of an earlier call stands for that of the next"
            )
        }
        _ = try AsyncModules(layout, self)
    }

    /// The method at work, for one session.
    public func makeAcceleration() -> any Acceleration { AsyncDiff(self) }
}

extension AsyncPlan: RankedPlanEntry {
    /// With the executor `mpi` a process for each component.
    public var rankMembers: Int? { executor == .mpi ? members : nil }

    /// The same with these modules in its components, when there are as many.
    public func divided(into components: [[String]]) throws(DiffError) -> AsyncPlan? {
        components.count == self.components ? try with(.modules(components), executor) : nil
    }

    /// The same with another executor.
    public func executed(by executor: Executor) throws(DiffError) -> AsyncPlan { try with(split, executor) }

    private func with(_ split: Split?, _ executor: Executor) throws(DiffError) -> AsyncPlan {
        try AsyncPlan(
            components: components, stride: stride, warmUp: warmUp, timeShift: timeShift, variant: variant,
            split: split, executor: executor, wire: wire)
    }
}

extension AsyncPlan: AdvisedPlanEntry {
    /// That few calls are few.
    public func advice(_ context: SamplingContext) -> String? {
        guard context.calls.limit < Self.fewCalls, warmUp < context.calls.limit else { return nil }
        return
            "asynchronous denoising in \(context.calls.limit) calls: states of the call before are far from those of the call, and the "
            + "result is far from that of the plain model (from \(Self.fewCalls) calls on it is close)"
    }
}

extension AsyncPlan: WordedPlanEntry {
    /// The rule that begins a word, with its form.
    public static let words = [(rule: "async", form: "async:COMPONENTS[:STRIDE[:WARM_UP]]")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        let given = word.arguments.count
        guard (1...3).contains(given), let components = word.number(0), let stride = given > 1 ? word.number(1) : 1,
            let warmUp = given > 2 ? word.number(2) : 1
        else { throw word.malformed("async:COMPONENTS[:STRIDE[:WARM_UP]], such as async:2 or async:3:2:5") }
        try self.init(components: components, stride: stride, warmUp: warmUp)
    }
}

import DiffAccel

/// A plan as it is named on the command line: a file, or a rule written out.
struct NamedPlan {
    /// A short name for tables and file names.
    let name: String
    let plan: Plan

    static let help = "A plan file, or a rule: none, alternate, interval:N, random:RATIO[:SEED]."

    /// The plain model.
    static let plain = NamedPlan(name: "plain", plan: Plan())

    /// Whether a second model takes turns with the first.
    var takesPartner: Bool { plan.entries.contains { $0 is CollaborativePlan } }

    /// The learned router in the plan.
    var router: Router? {
        for case let entry as LayerCachePlan in plan.entries {
            switch entry.policy {
            case .learned(let router), .shuffled(let router, _): return router
            case .none, .alternate, .interval, .random: continue
            }
        }
        return nil
    }

    /// The steps that it was made for.
    var learnedSteps: Int? { router?.steps }

    /// Reads what `text` names. Throws `io`, `format`, `unsupported`, `invalidArgument`.
    static func read(_ text: String) throws(DiffError) -> NamedPlan {
        if text.hasPrefix("dkv:") { return try cache(text) }
        if let policy = try policy(text) {
            let name = String(text.map { $0 == ":" ? "-" : $0 })
            return NamedPlan(name: name, plan: Plan([LayerCachePlan(policy)]))
        }
        let file = text.split(separator: "/").last ?? ""
        let name = file.hasSuffix(".json") ? file.dropLast(5) : file
        return NamedPlan(name: String(name), plan: try Plan(contentsOf: text))
    }

    /// Caching of keys and values, written dkv:VARIANT[:REFRESH[:WINDOW]].
    private static func cache(_ text: String) throws(DiffError) -> NamedPlan {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).dropFirst().map(String.init)
        let numbers = parts.dropFirst().map { Int($0) }
        guard let variant = parts.first.flatMap(KVCachePlan.Variant.init(rawValue:)), numbers.count <= 2,
            !numbers.contains(nil)
        else {
            let known = KVCachePlan.Variant.allCases.map(\.rawValue).joined(separator: ", ")
            throw DiffError(
                .invalidArgument, "\"\(text)\" is no plan: write dkv:VARIANT[:REFRESH[:WINDOW]] with one of \(known)")
        }
        let values = numbers.compactMap(\.self)
        let entry = try KVCachePlan(
            variant, refresh: values.first ?? 8, window: values.count > 1 ? values[1] : 0)
        return NamedPlan(name: String(text.map { $0 == ":" ? "-" : $0 }), plan: Plan([entry]))
    }

    /// The rule that `text` writes out; nil when it looks like a file.
    static func policy(_ text: String) throws(DiffError) -> CachePolicy? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch (parts.first, parts.count) {
        case ("none", 1): return CachePolicy.none
        case ("alternate", 1): return .alternate
        case ("interval", 2):
            if let every = Int(parts[1]), every >= 1 { return .interval(every: every) }
        case ("random", 2...3):
            let seed = parts.count == 3 ? UInt32(parts[2]) : 0
            if let ratio = Double(parts[1]), (0...1).contains(ratio), let seed {
                return .random(ratio: ratio, seed: UInt64(seed))
            }
        case ("interval", _), ("random", _): break
        default: return nil
        }
        throw DiffError(
            .invalidArgument, "\"\(text)\" is no plan: write interval:N (N at least 1) or random:RATIO[:SEED] (0...1)")
    }
}

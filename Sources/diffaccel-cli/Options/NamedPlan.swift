import DiffAccel

/// A plan as it is named on the command line: a file, a rule written out, or standard input.
struct NamedPlan {
    /// A short name for tables and file names.
    let name: String
    let plan: Plan

    static let help = "A plan file, - for standard input, or a rule: \(Plan.wordForms)."

    /// The plain model.
    static let plain = NamedPlan(name: "plain", plan: Plan())

    /// Whether a second model takes turns with the first.
    var takesPartner: Bool { plan.partner != nil }

    /// Reads what `text` names, with another executor where one is given. Throws `io`, `format`, `unsupported`, `invalidArgument`.
    static func read(_ text: String, _ executor: AsyncPlan.Executor?) throws(DiffError) -> NamedPlan {
        let named = try read(text)
        guard let executor else { return named }
        return NamedPlan(name: named.name, plan: try named.plan.executed(by: executor))
    }

    /// Reads what `text` names. Throws `io`, `format`, `unsupported`, `invalidArgument`.
    static func read(_ text: String) throws(DiffError) -> NamedPlan {
        if text == StandardOutput.name {
            let bytes = try StandardInput.contents()
            let plan = try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(DiffError) in
                try unsafe Plan(text: UnsafeRawBufferPointer(bytes), source: "standard input")
            }
            return NamedPlan(name: "plan", plan: plan)
        }
        let plan = try Plan(named: text)
        let file = text.split(separator: "/").last ?? ""
        let name = file.hasSuffix(".json") ? file.dropLast(5) : file
        return NamedPlan(name: String(name.map { $0 == ":" || $0 == "," ? "-" : $0 }), plan: plan)
    }
}

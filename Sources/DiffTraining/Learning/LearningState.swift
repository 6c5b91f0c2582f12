public import DiffCheckpoint
public import DiffTensor

/// Everything a procedure needs to resume: tensors and a few numbers, as a safetensors file that appears whole or not at all.
public struct LearningState: Sendable {
    /// Name of the procedure.
    public var method: String
    /// Steps made.
    public var step: Int
    /// What must be the same in the run that resumes: the settings that decide what a step does.
    public var settings: JSON
    /// f32 tensors by name.
    public var tensors: [String: Tensor] = [:]
    /// Integers by name.
    public var integers: [String: [Int]] = [:]

    /// A state without tensors.
    public init(method: String, step: Int, settings: JSON) {
        (self.method, self.step, self.settings) = (method, step, settings)
    }

    private static let format = "diffaccel learning state 1"

    /// Writes the state to `path`, atomically. Throws `io`.
    public func write(to path: String) throws(DiffError) {
        let numbers = integers.withValues { JSON.array($0.each.map { .integer($0) }) }
        let metadata = [
            "format": Self.format, "method": method, "step": String(step), "settings": settings.serialized(),
            "integers": JSON.object(numbers).serialized(),
        ]
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
    }

    /// Reads the state at `path`. Throws `io`, `format`, `notFinite` for a tensor with NaN or infinity.
    public init(contentsOf path: String, budget: MemoryBudget? = nil) throws(DiffError) {
        let table = try TensorTable(FileBytes(path: path))
        guard table.metadata["format"] == Self.format, let method = table.metadata["method"],
            let step = table.metadata["step"].flatMap({ Checked.decimal(Array($0.utf8)) })
        else { throw DiffError(.format, "\(path): no saved state of learning") }
        self.init(
            method: method, step: step, settings: try JSON(parsing: table.metadata["settings"] ?? "", source: path))
        let run = Run(pool: nil, budget: nil)
        for name in table.names.each {
            guard table.info(name)?.type == .f32 else {
                throw DiffError(.format, "\(path): tensor \"\(name)\" of a state must be F32")
            }
            let tensor = try table.load(name, budget: budget)
            try run.requireFinite(tensor, "\(path): tensor \"\(name)\"")
            tensors.put(tensor, for: name)
        }
        let numbers = try JSONObject(
            JSON(parsing: table.metadata["integers"] ?? "", source: path), source: path)
        for key in numbers.keys.each { integers.put(try numbers.integers(key, in: 0...Int.max), for: key) }
    }

    /// Throws `incompatible` unless the state is one of `method` with these settings.
    func check(_ method: String, _ settings: JSON, steps: Int) throws(DiffError) {
        guard self.method == method else {
            throw DiffError(.incompatible, "the state is one of \"\(self.method)\", not of \"\(method)\"")
        }
        guard case .object(let old) = self.settings, case .object(let new) = settings else {
            throw DiffError(.format, "the state has no settings")
        }
        let names = (Array(old.keys) + Array(new.keys)).sorted()
        for name in names.each where old[name] != new[name] {
            throw DiffError(
                .incompatible,
                "the state was made with another \"\(name)\" (\(old[name]?.serialized() ?? "none")) than this run has "
                    + "(\(new[name]?.serialized() ?? "none"))")
        }
        guard step <= steps else {
            throw DiffError(.incompatible, "the state is \(step) steps old, this run has \(steps)")
        }
    }

    /// Copies tensor `name` into `target`. Throws `format` when it is missing or has another size.
    func copy(_ name: String, to target: Tensor) throws(DiffError) {
        guard let tensor = tensors[name], tensor.shape.count == target.shape.count else {
            throw DiffError(.format, "the state has no tensor \"\(name)\" of \(target.shape)")
        }
        guard let from = unsafe tensor.floats, let to = unsafe target.floats else { return }
        unsafe to.update(from: from, count: target.shape.count)
    }

    /// The rows of tensor `name`, as `widths` has them one after the other. Throws `format`.
    func rows(_ name: String, _ widths: [Int]) throws(DiffError) -> [[Float]] {
        let mismatch = DiffError(.format, "the state has no \"\(name)\" of this size")
        var values = (tensors[name]?.array ?? []).each
        var rows: [[Float]] = []
        for width in widths.each {
            var row: [Float] = []
            for _ in Indices(below: width) {
                guard let value = values.next() else { throw mismatch }
                row.append(value)
            }
            rows.append(row)
        }
        guard values.next() == nil else { throw mismatch }
        return rows
    }

    /// Puts `rows`, one after the other, as tensor `name`.
    mutating func put(_ rows: [[Float]], as name: String) throws(DiffError) {
        var flat: [Float] = []
        for row in rows.each {
            for value in row.each { flat.append(value) }
        }
        guard !flat.isEmpty else { return }
        tensors.put(try Tensor(flat, Shape(flat.count)), for: name)
    }
}

extension RowAdamW {
    /// Puts the moments and step counts of `rows` into `state` under names that begin with `name`.
    static func save(_ rows: [RowAdamW], as name: String, in state: inout LearningState) throws(DiffError) {
        try state.put(rows.map(\.first), as: "\(name).first")
        try state.put(rows.map(\.second), as: "\(name).second")
        state.integers.put(rows.map(\.steps), for: "\(name).steps")
    }

    /// The rows of `state` under `name`. Throws `format`.
    static func restore(_ name: String, _ widths: [Int], from state: LearningState) throws(DiffError) -> [RowAdamW] {
        let (first, second) = (try state.rows("\(name).first", widths), try state.rows("\(name).second", widths))
        var rows: [RowAdamW] = []
        for (index, steps) in (state.integers["\(name).steps"] ?? []).numbered {
            guard steps <= state.step else {
                throw DiffError(.format, "the state counts more steps of \"\(name)\" than it has")
            }
            rows.append(try RowAdamW(first: first.at(index) ?? [], second: second.at(index) ?? [], steps: steps))
        }
        guard rows.count == widths.count else {
            throw DiffError(.format, "the state has no step counts of \"\(name)\"")
        }
        return rows
    }
}

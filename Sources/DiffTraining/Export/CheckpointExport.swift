public import DiffCheckpoint
public import DiffTensor

/// Writes checkpoints that are ordinary ones of their family.
public struct CheckpointExport: Sendable {
    /// The checkpoint that was learned from.
    public let checkpoint: Checkpoint
    /// Name of the file of weights.
    let file: String
    /// Of which tensor the named one is a copy in this layout, nil for none.
    let original: @Sendable (String) -> String?
    /// Tensors that follow from others and are left out.
    let derived: [String]

    /// Exports of `checkpoint` under its own names, weights going to `file`, without the tensors `derived`.
    public init(
        _ checkpoint: Checkpoint, file: String = "model.safetensors", derived: [String] = [],
        original: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        (self.checkpoint, self.file, self.derived, self.original) = (checkpoint, file, derived, original)
    }

    /// Writes a folder with the weights `learned` (f32, by name in the checkpoint; tensors computed as one have several names) and
    /// all others from the checkpoint, as `type` (nil: as the checkpoint has them), and the config `members` if there is
    /// one. Throws `notFinite` for weights that are none, `io`.
    public func write(
        _ learned: [(names: [String], tensor: Tensor)], as type: DType?, folder: String, config members: [String: JSON]?
    ) throws(DiffError) {
        var tensors: [String: Tensor] = [:]
        for (names, tensor) in learned {
            let rows = names.isEmpty ? 0 : tensor.shape[0] / names.count
            for (index, name) in names.numbered {
                tensors.put(names.count == 1 ? tensor : try tensor.rows(index &* rows, rows), for: name)
            }
        }
        let aliases = checkpoint.tensors.aliases
        func source(_ name: String) -> Tensor? {
            tensors[name] ?? original(name).flatMap { tensors[$0] } ?? aliases[name].flatMap { tensors[$0] }
        }
        var contents: [String: (dtype: DType, shape: Shape)] = [:]
        for name in allNames.each where !derived.contains(name) {
            guard let entry = checkpoint.tensors.info(name), let stored = entry.type.weight else { continue }
            contents.put((type ?? stored, entry.shape), for: name)
        }
        let run = Run(pool: nil, budget: nil)
        let kinds = contents
        try write(contents, members, folder) { (name) throws(DiffError) in
            guard let wanted = kinds[name] else { throw DiffError(.internal, "no tensor \"\(name)\"") }
            let tensor: Tensor
            if let learned = source(name) {
                tensor = try learned.reshaped(wanted.shape)
            } else {
                let stored = try checkpoint.tensors.load(name)
                if stored.dtype == wanted.dtype { return stored }
                tensor = try stored.widened(budget: nil)
            }
            try run.requireFinite(tensor, "tensor \"\(name)\"")
            return try tensor.narrowed(to: wanted.dtype, budget: nil)
        }
    }

    /// Names of all tensors, second names included: each is written as a tensor of its own.
    var allNames: [String] { checkpoint.tensors.names + Array(checkpoint.tensors.aliases.keys) }

    /// Writes the part `name` of the checkpoint, a folder in its folder, into `folder`, as it is; nothing when there is none. Throws `io`,
    /// `format`.
    public func copy(part name: String, into folder: String) throws(DiffError) {
        guard try checkpoint.hasSubdirectory(name) else { return }
        let part = try checkpoint.subdirectory(name)
        let members = part.config == nil ? nil : try part.configuration.members
        try CheckpointExport(part).write([], as: nil, folder: "\(folder)/\(name)", config: members)
    }

    /// The checkpoint's config with `value` for the architecture's `key`, in its `model` where it has one, and `notes` at its top.
    func config(_ key: String, _ value: JSON, notes: [String: JSON] = [:]) throws(DiffError) -> [String: JSON] {
        var members = try checkpoint.configuration.members
        if case .object(var model) = members["model"] {
            model.put(value, for: key)
            members.put(.object(model), for: "model")
        } else {
            members.put(value, for: key)
        }
        for name in Array(notes.keys).each { members.put(notes[name] ?? .null, for: name) }
        return members
    }

    func write(
        _ contents: [String: (dtype: DType, shape: Shape)], _ members: [String: JSON]?, _ folder: String,
        load: (String) throws(DiffError) -> Tensor
    ) throws(DiffError) {
        try Directory.make(folder)
        try SafetensorsWriter.write(contents, metadata: ["format": "pt"], to: "\(folder)/\(file)", load: load)
        if let members {
            try AtomicFile.write(JSON.object(members).serialized(pretty: true), to: "\(folder)/config.json")
        }
    }
}

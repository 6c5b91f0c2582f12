public import DiffTensor

/// The tensors of a checkpoint: the union over one safetensors file or over shards.
///
/// Holds names and places, no elements. Thread-safe: reading is by position.
public final class TensorTable: Sendable {
    /// Where a tensor's bytes are.
    struct Place: Sendable {
        let file: Int
        /// The tensor as it is handed out.
        let entry: TensorEntry
        /// How its elements are made of the file's.
        var form = Form.asStored
    }

    enum Source: Sendable {
        case open(FileBytes)
        // Opened again for each read: a host process has few descriptors, a large checkpoint many shards.
        case named(Directory, String, FileBytes.Identity)
    }

    let sources: [Source]
    let places: [String: Place]
    /// What the tensors are called where they come from; nil unless this is a view.
    let origin: Origin?
    /// Further names of tensors: names that stand in the metadata only, where writers put those of tensors that share their memory,
    /// and whose tensor each is.
    public let aliases: [String: String]
    /// The `__metadata__` strings of the file (of the first shard that has any).
    public let metadata: [String: String]
    /// Path of the file or of the index, for messages.
    public let path: String

    /// A table without tensors.
    init(emptyAt path: String) {
        (sources, places, aliases, metadata, self.path, byteCount) = ([], [:], [:], [:], path, 0)
        origin = nil
    }

    /// The tensors of one file. Throws `format`, `io` or `unsupported`.
    public init(_ file: FileBytes) throws(DiffError) {
        let header = try SafetensorsHeader(file)
        var places: [String: Place] = [:]
        places.reserveCapacity(header.entries.count)
        for entry in header.entries.each { places.put(Place(file: 0, entry: entry), for: entry.name) }
        byteCount = Self.bytes(header.entries)
        (sources, metadata, path, origin) = ([.open(file)], header.metadata, file.path, nil)
        self.places = places
        aliases = Self.aliases(header.metadata, places)
    }

    /// The entries of `metadata` that give a tensor a further name.
    private static func aliases(_ metadata: [String: String], _ places: [String: Place]) -> [String: String] {
        var aliases: [String: String] = [:]
        for name in Array(metadata.keys).each where places[name] == nil {
            guard let original = metadata[name], places[original] != nil else { continue }
            aliases.put(original, for: name)
        }
        return aliases
    }

    /// The tensors of the shards that the file `index` of `directory` lists. Throws `format` when a tensor is not in
    /// the shard that the index names, is in two shards, or is in a shard but not in the index.
    public init(index: String, in directory: Directory) throws(DiffError) {
        let file = try directory.open(index)
        let text = try file.contents(limit: Limits.indexBytes)
        let shards = try unsafe text.withBytes { (text) throws(DiffError) in
            try unsafe ShardIndex(text, source: file.path)
        }
        var sources: [Source] = []
        var places: [String: Place] = [:]
        var metadata: [String: String] = [:]
        var (byteCount, names) = (0, [String: String]())
        for (number, name) in shards.shards.numbered {
            guard try directory.contains(name) else {
                throw DiffError(
                    .io,
                    "\(directory.path)/\(name): cannot be opened: no such file, though \(file.path) names it: the download is not "
                        + "complete; fetch it")
            }
            let shard = try directory.open(name)
            let header = try SafetensorsHeader(shard)
            if metadata.isEmpty { metadata = header.metadata }
            for key in Array(header.metadata.keys).each { names.put(header.metadata[key] ?? "", for: key) }
            for entry in header.entries.each {
                let tensor = "tensor \"\(entry.name.prefix(200))\""
                guard let home = shards.home[entry.name] else {
                    throw DiffError(.format, "\(shard.path): \(tensor) is not in \(file.path)")
                }
                guard home == number else {
                    throw DiffError(.format, "\(shard.path): \(tensor) belongs to another shard by \(file.path)")
                }
                places.put(Place(file: number, entry: entry), for: entry.name)
            }
            byteCount = Checked.add(byteCount, Self.bytes(header.entries)) ?? .max
            sources.append(.named(directory, name, shard.identity))
        }
        if places.count < shards.home.count {
            let list = NameList(firstOf: Array(shards.home.keys).each.filter { places[$0] == nil }).text
            throw DiffError(.format, "\(file.path): not in the shards it names: \(list)")
        }
        (self.sources, self.places, self.metadata, path) = (sources, places, metadata, file.path)
        (aliases, origin) = (Self.aliases(names, places), nil)
        self.byteCount = byteCount
    }

    /// A view of tensors of `table`, which hands out what stands in `places`.
    init(viewing table: TensorTable, _ places: [String: Place], origin: Origin) {
        (sources, metadata, path) = (table.sources, table.metadata, table.path)
        (self.places, self.origin, aliases) = (places, origin, [:])
        var sum = 0
        for name in Array(places.keys).each { sum = Checked.add(sum, places[name]?.entry.byteCount ?? 0) ?? .max }
        byteCount = sum
    }

    /// Names of all tensors, sorted; aliases are left out.
    public var names: [String] { places.keys.sorted(by: JSON.precedes) }

    /// The names for which `condition` holds, in no order.
    func unordered(where condition: (String) -> Bool) -> [String] { Array(places.keys).each.filter(condition) }

    /// Number of tensors.
    public var count: Int { places.count }

    /// Bytes of all elements.
    public let byteCount: Int

    /// Whether there is a tensor `name`.
    public func has(_ name: String) -> Bool { known(name) != nil }

    /// Type, shape and place of the tensor `name`, or nil. That of an alias has the tensor's own name.
    public func info(_ name: String) -> TensorEntry? { known(name)?.entry }

    func known(_ name: String) -> Place? { places[name] ?? aliases[name].flatMap { places[$0] } }

    /// The tensor `name` in the file's element type; F64 in f32, types of eight bits in bf16.
    ///
    /// Throws `format` when it is not there, `unsupported` when its elements cannot be weights, `io` when the file
    /// changed, `outOfMemory` or `overBudget`.
    public func load(_ name: String, budget: MemoryBudget? = nil) throws(DiffError) -> Tensor {
        let place = try place(name)
        let type = try weightType(place.entry)
        guard place.entry.type.isNative else { return try converted(place, budget: budget) }
        let block = try Storage(byteCount: place.entry.byteCount, budget: budget)
        try read(place, into: block, at: 0)
        return try Tensor(block, place.entry.shape, type)
    }

    /// Reads the elements of `name` into `block` from byte `start` on.
    func read(_ name: String, into block: Storage, at start: Int, pool: WorkerPool? = nil) throws(DiffError) {
        try read(place(name), into: block, at: start, pool: pool)
    }

    private static func bytes(_ entries: [TensorEntry]) -> Int {
        var sum = 0
        for entry in entries.each { sum = Checked.add(sum, entry.byteCount) ?? .max }
        return sum
    }

    /// The element type as weights, or `unsupported`.
    func weightType(_ entry: TensorEntry) throws(DiffError) -> DType {
        guard let type = entry.type.weight else {
            throw DiffError(
                .unsupported,
                "\(path): tensor \"\(sourceName(entry.name))\": \(entry.type.rawValue) cannot be weights (F32, F16, BF16, F64, F8_E4M3, "
                    + "F8_E5M2 can)" + (entry.type.bits <= 8 || entry.type.isIntegral ? "; \(Self.quantised)" : ""))
        }
        return type
    }

    private static let quantised =
        "if the model was quantised by another program, take its release in F16 or BF16: weights \"int8\" quantises here"

    func place(_ name: String) throws(DiffError) -> Place {
        guard let place = known(name) else {
            throw DiffError(.format, "\(path): no tensor \"\(sourceName(name).prefix(200))\"")
        }
        return place
    }

    func read(
        _ place: Place, into block: Storage, at start: Int, pool: WorkerPool? = nil
    ) throws(DiffError) {
        try read(place, from: 0, count: place.entry.byteCount, into: block, at: start, pool: pool)
    }

    /// Reads `count` bytes of a tensor from byte `first` on.
    func read(
        _ place: Place, from first: Int, count: Int, into block: Storage, at start: Int, pool: WorkerPool? = nil
    ) throws(DiffError) {
        if case .asStored = place.form {
            try readStored(place, from: first, count: count, into: block, at: start, pool: pool)
        } else {
            try readFormed(place, from: first, count: count, into: block, at: start, pool: pool)
        }
    }

    /// The same of the bytes as they stand in the file.
    func readStored(
        _ place: Place, from first: Int, count: Int, into block: Storage, at start: Int, pool: WorkerPool?
    ) throws(DiffError) {
        guard start >= 0, let end = Checked.add(start, count), end <= block.byteCount, first >= 0, count >= 0,
            let last = Checked.add(first, count), last <= place.entry.byteCount,
            let offset = Checked.add(place.entry.offset, first), let base = unsafe block.base, place.file >= 0,
            place.file < sources.count
        else { throw DiffError(.internal, "\(path): no room for tensor \"\(place.entry.name)\"") }
        let file: FileBytes
        switch sources[place.file] {
        case .open(let open): file = open
        case .named(let directory, let name, let identity):
            file = try directory.open(name)
            guard file.identity == identity else {
                throw DiffError(.io, "\(file.path): the file changed since the checkpoint was opened")
            }
        }
        try unsafe file.read(
            at: offset, into: UnsafeMutableRawBufferPointer(start: base + start, count: count),
            pool: pool)
    }
}

extension TensorTable {
    /// Elements of all tensors.
    public var elementCount: Int { names.each.reduce(0) { Checked.sum($0, info($1)?.shape.count ?? 0) } }
}

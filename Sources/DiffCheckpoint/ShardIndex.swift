import DiffTensor

/// The validated contents of a `*.safetensors.index.json`: which file holds which tensor.
struct ShardIndex: Sendable {
    /// File names, sorted: single components ending in `.safetensors`.
    let shards: [String]
    /// Position in ``shards`` of each tensor's file.
    let home: [String: Int]

    /// Checks the text of an index of `fileSize` bytes. Throws `format`.
    init(_ text: UnsafeRawBufferPointer, source: String) throws(DiffError) {
        let limits = JSON.Limits(
            bytes: Limits.indexBytes, values: 2 * Limits.tensors, memory: Limits.parseMemory(fileSize: text.count))
        let json = try unsafe JSON(parsing: text, limits: limits, source: source)
        let map = try JSONObject(json, source: source).object("weight_map")
        guard !map.members.isEmpty, map.members.count <= Limits.tensors else {
            throw DiffError(
                .format, "\(map.place): \(map.members.count) tensors; 1 to \(Limits.tensors) are allowed")
        }
        var positions: [String: Int] = [:]
        let names = map.keys
        for name in names.each {
            guard let value = map.members[name] else { continue }
            guard !name.isEmpty, name.utf8.count <= Limits.nameBytes else {
                throw map.error(name, "a tensor's name has 1 to \(Limits.nameBytes) bytes")
            }
            guard case .string(let shard) = value else {
                throw map.error(name, "expected a file name, found \(value.summary)")
            }
            positions.put(0, for: shard)
        }
        guard positions.count <= Limits.shards else {
            throw DiffError(.format, "\(source): \(positions.count) shards; at most \(Limits.shards) are read")
        }
        shards = positions.keys.sorted(by: JSON.precedes)
        for (position, shard) in shards.numbered {
            try locating("\(source): weight_map") { () throws(DiffError) in try Directory.check(component: shard) }
            guard shard.hasSuffix(".safetensors") else {
                let remedy = OtherFiles.remedy(of: shard)
                throw DiffError(
                    remedy == nil ? .format : .unsupported,
                    "\(source): weight_map: \"\(shard)\" is not a .safetensors file"
                        + (remedy.map { "; \($0.text(source))" } ?? ""))
            }
            positions.put(position, for: shard)
        }
        var home: [String: Int] = [:]
        home.reserveCapacity(map.members.count)
        for name in names.each {
            if case .string(let shard)? = map.members[name], let position = positions[shard] {
                home.put(position, for: name)
            }
        }
        self.home = home
    }
}

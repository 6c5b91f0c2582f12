public import DiffTensor

/// Where a tensor of a view comes from: a tensor of another table, whole or in parts, perhaps in another shape.
public struct TensorSource: Sendable, Equatable {
    /// What of the tensor is taken, and in which order.
    public enum Part: Sendable, Equatable {
        /// All of it.
        case whole
        /// One of `count` equal parts along the first axis, such as the keys of a fused projection (1 of 3).
        case rows(_ index: Int, of: Int)
        /// Both halves along the first axis, the second one first: shift and scale where scale and shift are asked for.
        case swappedHalves
        /// A matrix with rows and columns exchanged.
        case transposed
    }

    /// Its name in the other table.
    public let name: String
    /// What of it is taken.
    public let part: Part

    /// The tensor `name`, or what `part` says of it.
    public init(_ name: String, _ part: Part = .whole) { (self.name, self.part) = (name, part) }
}

extension TensorTable {
    /// How the elements of a view's tensor are made of those in the file.
    enum Form: Sendable {
        /// One after the other, from the entry's offset on.
        case asStored
        /// The second half of the bytes before the first.
        case swappedHalves
        /// Rows and columns exchanged; the extents are those in the file.
        case transposed(rows: Int, columns: Int)
        /// No file has it: ones on the diagonal of a square matrix of f32.
        case identity(Int)
    }

    /// What the tensors of a view are called in the file.
    final class Origin: Sendable {
        private let names: [String: String]
        private let rule: @Sendable (String) -> String?

        init(_ names: [String: String], _ rule: @escaping @Sendable (String) -> String?) {
            (self.names, self.rule) = (names, rule)
        }

        func name(_ name: String) -> String { names[name] ?? rule(name) ?? name }
    }

    /// What the tensor `name` is called in the file: another name only in a view. Also of tensors that are not there.
    public func sourceName(_ name: String) -> String { origin?.name(name) ?? name }

    /// The same of several, each once.
    func sourceNames(_ names: [String]) -> [String] {
        guard let origin else { return names }
        var found: [String: Bool] = [:]
        for name in names.each { found.put(true, for: origin.name(name)) }
        return Array(found.keys)
    }

    /// A table of tensors of this one under other names. Nothing is read; errors about the view's tensors name them as this table does.
    ///
    /// - Parameters:
    ///   - sources: for each name where it comes from.
    ///   - identities: names under which a square matrix of this side stands that has ones on its diagonal.
    ///   - naming: how this table would call a tensor that is not there.
    /// - Returns: a view, which shares this table's files. Names whose source is not there are left out.
    ///
    /// Throws `format` when a tensor has no such parts.
    public func renamed(
        _ sources: [String: TensorSource], identities: [String: Int] = [:],
        naming: @escaping @Sendable (String) -> String? = { _ in nil }
    ) throws(DiffError) -> TensorTable {
        var places: [String: Place] = [:]
        var names: [String: String] = [:]
        places.reserveCapacity(sources.count)
        for name in Array(sources.keys).each {
            guard let source = sources[name], let place = known(source.name) else { continue }
            places.put(try Self.part(source.part, of: place, called: name, path: path), for: name)
            names.put(sourceName(source.name), for: name)
        }
        for name in Array(identities.keys).each {
            guard let side = identities[name] else { continue }
            let shape = try Shape(side, side)
            let entry = TensorEntry(name: name, type: .f32, shape: shape, offset: 0, byteCount: shape.count &* 4)
            places.put(Place(file: 0, entry: entry, form: .identity(side)), for: name)
        }
        return TensorTable(viewing: self, places, origin: Origin(names, naming))
    }

    /// A table of the tensors whose names begin with `prefix`, without it.
    public func stripped(of prefix: String) throws(DiffError) -> TensorTable {
        var sources: [String: TensorSource] = [:]
        for name in Array(places.keys).each {
            guard let rest = name.without(prefix: prefix) else { continue }
            sources.put(TensorSource(name), for: rest)
        }
        return try renamed(sources) { prefix + $0 }
    }

    private static func part(
        _ part: TensorSource.Part, of place: Place, called name: String, path: String
    ) throws(DiffError) -> Place {
        let entry = place.entry
        func taken(_ shape: Shape, _ offset: Int, _ byteCount: Int) -> TensorEntry {
            TensorEntry(name: name, type: entry.type, shape: shape, offset: offset, byteCount: byteCount)
        }
        let same = taken(entry.shape, entry.offset, entry.byteCount)
        if part == .whole { return Place(file: place.file, entry: same, form: place.form) }
        let refused = DiffError(
            .format,
            "\(path): tensor \"\(entry.name.prefix(200))\": \(entry.shape) of \(entry.type.rawValue) has no such parts")
        guard case .asStored = place.form, entry.type.bits >= 8, entry.shape.rank > 0 else { throw refused }
        switch part {
        case .whole: return Place(file: place.file, entry: same)
        case .rows(let index, let count):
            guard count > 0, index >= 0, index < count, entry.shape[0] % count == 0 else { throw refused }
            let shape = try entry.shape.replacingFirst(entry.shape[0] / count)
            let bytes = entry.byteCount / count
            // Within the tensor's bytes, which are within the file.
            return Place(file: place.file, entry: taken(shape, entry.offset &+ index &* bytes, bytes))
        case .swappedHalves:
            guard entry.shape[0] % 2 == 0 else { throw refused }
            return Place(file: place.file, entry: same, form: .swappedHalves)
        case .transposed:
            guard entry.shape.rank == 2 else { throw refused }
            let (rows, columns) = (entry.shape[0], entry.shape[1])
            return Place(
                file: place.file, entry: taken(try Shape(columns, rows), entry.offset, entry.byteCount),
                form: .transposed(rows: rows, columns: columns))
        }
    }
}

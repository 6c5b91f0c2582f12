import DiffCheckpoint
import DiffTensor

/// Which module of one layout is which of another: pairs of names, each standing for all that begins with it.
///
/// A name is translated by the longest pair that is it, or that it begins with up to a dot.
struct LayoutPairs: Sendable {
    // By the model's name, and by the source's.
    private var sources: [String: TensorSource] = [:]
    private var models: [String: [TensorSource]] = [:]

    /// No pairs.
    init() {}

    /// Says that `model` is `part` of `source`.
    mutating func add(_ model: String, _ source: String, _ part: TensorSource.Part = .whole) {
        sources.put(TensorSource(source, part), for: model)
        var all = models[source] ?? []
        all.append(TensorSource(model, part))
        models.put(all, for: source)
    }

    /// The same of the modules `names` (the model's, the source's) within `model` and `source`.
    mutating func add(_ model: String, _ source: String, within names: [(String, String)]) {
        for (inModel, inSource) in names.each { add("\(model).\(inModel)", "\(source).\(inSource)") }
    }

    /// The source of the model's tensor or module `name`; nil when no pair fits.
    func source(of name: String) -> TensorSource? {
        for (start, rest) in name.splits.each {
            if let source = sources[start] { return TensorSource(source.name + rest, source.part) }
        }
        return nil
    }

    /// What the source's tensor or module `name` is in the model: several names when it is fused. Empty when no pair fits.
    func models(of name: String) -> [TensorSource] {
        for (start, rest) in name.splits.each {
            guard let found = models[start] else { continue }
            var all: [TensorSource] = []
            for model in found.each { all.append(TensorSource(model.name + rest, model.part)) }
            return all
        }
        return []
    }
}

extension TensorTable {
    /// The tensors that begin with `prefix`, under the names that `pairs` give them. Those without a pair keep their names, so that a
    /// model that does not read them reports them. Names in `excluded` are left out.
    func view(
        of prefix: String, _ pairs: LayoutPairs, excluding excluded: [String: Bool] = [:],
        identities: [String: Int] = [:]
    ) throws(DiffError) -> TensorTable {
        var sources: [String: TensorSource] = [:]
        for name in names.each where excluded[name] == nil {
            guard let rest = name.without(prefix: prefix) else { continue }
            let found = pairs.models(of: rest)
            if found.isEmpty { sources.put(TensorSource(name), for: name) }
            for model in found.each { sources.put(TensorSource(name, model.part), for: model.name) }
        }
        return try renamed(sources, identities: identities) { name in
            pairs.source(of: name).map { prefix + $0.name }
        }
    }
}

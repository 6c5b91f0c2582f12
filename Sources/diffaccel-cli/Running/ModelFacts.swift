import DiffAccel
import DiffCheckpoint

/// What commands need of a model's description.
struct ModelFacts {
    let description: JSON

    /// The facts of `model`.
    init(_ model: Model) { description = model.description }

    /// Extents of one sample's state, [C, S, S].
    var input: [Int]? { description["input"]?.asArray?.compactMap(\.asInt) }
    /// Whether samples start from noise; models that work scale by scale do not.
    var startsFromNoise: Bool { description["family"]?.asText != "var" }
    /// Number of classes.
    var classes: Int { description["config"]?["num_classes"]?.asInt ?? 0 }
    /// Names of the classes; empty when the checkpoint has none.
    var labels: [String] { description["labels"]?.asArray?.compactMap(\.asText) ?? [] }
    /// Whether latents can become images.
    var hasDecoder: Bool { description["decoder"]?.asText.map { $0 != "none" } ?? false }

    /// The classes that `text` names: indices, ranges, names, separated by commas, or `all`.
    func classIndices(_ text: String) throws(DiffError) -> [Int] {
        if text == "all" { return Array(0..<classes) }
        var found: [Int] = []
        for piece in text.split(separator: ",", omittingEmptySubsequences: false) {
            found += try classes(piece.trimmed.lowercased())
        }
        return found
    }

    private func classes(_ word: String) throws(DiffError) -> [Int] {
        if let index = Int(word) { return [index] }
        if let index = labels.firstIndex(where: { $0.lowercased() == word }) { return [index] }
        let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        if ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last < classes {
            return Array(first...last)
        }
        let known = labels.isEmpty ? "it has \(classes) classes without names" : labels.joined(separator: ", ")
        throw DiffError(.invalidArgument, "--labels: the model knows no class \"\(word)\": \(known)")
    }
}

extension Substring {
    /// Without the spaces at both ends.
    var trimmed: Substring {
        let rest = drop { $0 == " " }
        return rest.lastIndex { $0 != " " }.map { rest[...$0] } ?? rest
    }
}

import DiffAccel
import DiffCheckpoint

/// What commands need of a model's description.
struct ModelFacts {
    let description: JSON
    let model: Model

    /// The facts of `model`.
    init(_ model: Model) { (self.model, description) = (model, model.description) }

    /// Extents of one sample's state, [C, S, S].
    var input: [Int]? { description["input"]?.asArray?.compactMap(\.asInt) }
    /// What requests to the model may say; nothing when it cannot sample.
    private var form: RequestForm? { try? model.requestForm }
    /// Whether samples start from noise; models that work scale by scale do not.
    var startsFromNoise: Bool { form?.tensors.contains { $0.name == "noise" } ?? false }
    /// Whether results are texts: they have a length in tokens.
    var writesText: Bool { form?.declares("length") ?? false }
    /// Whether requests are prompts of pictures.
    var drawsPrompts: Bool { form?.declares("images_per_prompt") ?? false }
    /// Whether requests are prompts of sounds.
    var makesSounds: Bool { form?.declares("waveforms_per_prompt") ?? false }
    /// What says how many samples there are of each prompt; nil for models without prompts of one.
    var perPrompt: String? { drawsPrompts ? "images_per_prompt" : makesSounds ? "waveforms_per_prompt" : nil }
    /// Pixels of a latent along a side, of a model that draws prompts.
    var pixelsOfLatent: Int? {
        guard let side = description["side"]?.asInt, let latents = input?.last, latents > 0 else { return nil }
        return side / latents
    }

    /// Latents of a picture or a sound that `request` asks for.
    func latents(of request: SampleRequest) -> Int {
        // Sounds of a few seconds already are as large as pictures of 512 x 512.
        guard !makesSounds else { return .max }
        let (factor, side) = (max(1, pixelsOfLatent ?? 8), description["side"]?.asInt ?? 512)
        let (width, height) = (request["width"]?.asInt ?? side, request["height"]?.asInt ?? side)
        guard (1...65_536).contains(width), (1...65_536).contains(height) else { return 1 }
        return (width / factor) * (height / factor)
    }

    /// Whether final states are decoded unless a request says otherwise.
    var decodes: Bool { form?.declares("decode") ?? false }
    /// Number of classes, without the row of a table that stands for none.
    var classes: Int {
        let rows = description["config"]?["num_classes"]?.asInt ?? 0
        return min(rows, description["null_class"]?.asInt ?? rows)
    }
    /// Whether latents can become images.
    var hasDecoder: Bool { description["decoder"]?.asText.map { $0 != "none" } ?? false }

    /// The classes that `text` names: indices, ranges, names, separated by commas, or `all`.
    func classIndices(_ text: String) throws(DiffError) -> [Int] {
        if text == "all" { return Array(0..<classes) }
        // The whole name of a class may hold commas.
        if let index = model.classNames.texts.firstIndex(of: text) { return [index] }
        var found: [Int] = []
        for piece in text.split(separator: ",", omittingEmptySubsequences: false) {
            found += try classes(String(piece.trimmed))
        }
        return found
    }

    /// The class that a member of a JSON list names: by number or name.
    func classIndex(_ label: JSON) throws(DiffError) -> Int {
        if let number = label.asInteger { return number }
        guard let name = label.asText else {
            throw DiffError(
                .invalidArgument,
                "--labels: expected numbers and names of classes, found \(label.serialized().prefix(60))")
        }
        return try locating("--labels") { () throws(DiffError) in try model.classNames.index(of: name) }
    }

    private func classes(_ word: String) throws(DiffError) -> [Int] {
        let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        if ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last < classes {
            return Array(first...last)
        }
        return [try locating("--labels") { () throws(DiffError) in try model.classIndex(named: word) }]
    }
}

extension Substring {
    /// Without the spaces at both ends.
    var trimmed: Substring {
        let rest = drop { $0 == " " }
        return rest.lastIndex { $0 != " " }.map { rest[...$0] } ?? rest
    }
}

import DiffAccel
import DiffCheckpoint

/// What a picture says it was made with: the prompt, a line of the negative prompt, and a line of settings, as programs of this field write it.
struct PictureText {
    let prompt: String
    /// Nil: nothing is said of it.
    let negative: String?
    /// Names and values, in order.
    let settings: [(name: String, value: String)]

    private static let negativeMark = "Negative prompt: "

    /// What `text` says.
    init(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { String($0) }
        if let last = lines.last, last.hasPrefix("Steps: ") {
            settings = Self.settings(Substring(last))
            lines.removeLast()
        } else {
            settings = []
        }
        if let mark = lines.firstIndex(where: { $0.hasPrefix(Self.negativeMark) }) {
            let said = [String(lines[mark].dropFirst(Self.negativeMark.count))] + lines[(mark + 1)...]
            (prompt, negative) = (lines[..<mark].joined(separator: "\n"), said.joined(separator: "\n"))
        } else {
            (prompt, negative) = (lines.joined(separator: "\n"), nil)
        }
    }

    /// What is in the PNG file `path`. Throws `io`, and `format` when it says nothing.
    init(contentsOf path: String) throws(DiffError) {
        let bytes = try PNGReader.bytes(of: path)
        guard PNGText.isPNG(bytes) else { throw DiffError(.format, "\(path): not a PNG file") }
        guard let text = PNGText.found(in: bytes) else {
            throw DiffError(
                .format, "\(path): the picture does not say what it was made with (it has no text \"parameters\")")
        }
        self.init(text)
    }

    /// `Name: value, Name: "value, quoted"`
    private static func settings(_ line: Substring) -> [(name: String, value: String)] {
        var (rest, found) = (line, [(name: String, value: String)]())
        while let colon = rest.firstIndex(of: ":") {
            let name = String(rest[..<colon].trimmed)
            rest = rest[rest.index(after: colon)...].drop { $0 == " " }
            var value = rest.prefix { $0 != "," }
            if rest.first == "\"", let end = closing(rest) {
                value = rest[...end]
                rest = rest[rest.index(after: end)...]
            } else {
                rest = rest[value.endIndex...]
            }
            rest = rest.drop { $0 == "," || $0 == " " }
            let quoted = value.first == "\"" ? try? JSON(parsing: String(value), source: name).asText : nil
            found.append((name, quoted ?? String(value.trimmed)))
        }
        return found
    }

    /// The quotation mark that closes the one at the beginning.
    private static func closing(_ text: Substring) -> Substring.Index? {
        var at = text.index(after: text.startIndex)
        while at < text.endIndex {
            if text[at] == "\"" { return at }
            if text[at] == "\\" { at = text.index(after: at) }
            if at < text.endIndex { at = text.index(after: at) }
        }
        return nil
    }

    private func value(_ name: String) -> String? { settings.first { $0.name == name }?.value }

    /// What says that the picture was not the first of a batch of one seed; nil: it can be made alone.
    var laterInBatch: String? {
        guard let position = value("Batch pos").flatMap({ Int($0) }), position > 0 else { return nil }
        return "picture \(position + 1) of \(value("Batch size") ?? "a batch")"
    }

    /// The request that the text describes, to a model whose requests have this `form`: what it says that they take. Throws `unsupported` for
    /// a sampler that the model does not have, unless another one `isGiven`.
    func options(_ form: RequestForm, isGiven: (String) -> Bool) throws(DiffError) -> [String: JSON] {
        var options: [String: JSON] = ["prompt": .string(prompt)]
        options["negative_prompt"] = negative.map { .string($0) }
        for (name, option) in [("Steps", "steps"), ("Seed", "seed")] {
            options[option] = value(name).flatMap { Int($0) }.map { .integer($0) }
        }
        for (name, option) in [("CFG scale", "guidance"), ("Eta", "eta"), ("Denoising strength", "strength")] {
            options[option] = value(name).flatMap { Double($0) }.map { .number($0) }
        }
        if let size = value("Size").flatMap({ PictureSize(argument: $0) }) {
            (options["width"], options["height"]) = (.integer(size.width), .integer(size.height))
        }
        if let skip = value("Clip skip").flatMap({ Int($0) }), skip > 1 { options["clip_skip"] = .integer(skip - 1) }
        if let name = value("Sampler"), !isGiven("sampler") { options["sampler"] = .string(try sampler(name, form)) }
        return options.filter { form.declares($0.key) && !isGiven($0.key) }
    }

    /// The model's sampler of that name and schedule.
    private func sampler(_ name: String, _ form: RequestForm) throws(DiffError) -> String {
        let schedule = value("Schedule type").flatMap { $0 == "Automatic" || $0 == "Uniform" ? nil : $0 }
        let known = form.options.first { $0.name == "sampler" }?.type.choices ?? []
        let fitting = known.first { one in
            let words = Library.commonName(ofSampler: one)
            // Older files have both in one.
            return words == (name, schedule) || words.schedule.map { "\(words.sampler) \($0)" == name } ?? false
        }
        guard let fitting else {
            let whole = schedule.map { "\(name), schedule \($0)" } ?? name
            throw DiffError(
                .unsupported,
                "the picture was made with the sampler \(whole), which the model does not have: name one with --sampler"
            )
        }
        return fitting
    }
}

extension OptionType {
    /// The words of which a value is one; none where it is something else.
    fileprivate var choices: [String] {
        switch self {
        case .choice(let words): words
        case .either(let types): types.flatMap(\.choices)
        case .flag, .integer, .number, .text, .list, .object: []
        }
    }
}

import DiffCheckpoint
import DiffTensor

/// What pictures were made with, in the words that programs of this field write into their files and read from them: the prompt, a line of
/// the negative prompt, and a line of settings.
///
/// Source: the text `parameters` in PNG files of AUTOMATIC1111's web UI.
final class PictureParameters: Sendable {
    /// Most bytes of a prompt that are written; encoders read far fewer.
    private static let promptBytes = 4096

    /// Texts of the first encoder; none where embeddings were given.
    let prompts: PromptTexts
    /// Pictures, and how many of them each prompt has.
    let count: Int, perPrompt: Int
    /// One for all pictures, or one for each; none where the noise was given.
    let seeds: [UInt64]
    /// What is the same for all pictures: names and values, in order, before the seed and after it.
    let before: [(name: String, value: String)], after: [(name: String, value: String)]

    init(
        _ prompts: PromptTexts, count: Int, perPrompt: Int, seeds: [UInt64], before: [(name: String, value: String)],
        after: [(name: String, value: String)]
    ) {
        (self.prompts, self.count, self.perPrompt, self.seeds) = (prompts, count, perPrompt, seeds)
        (self.before, self.after) = (before, after)
    }

    /// A text for each picture.
    var texts: [String] { Indices(below: count).map { text(of: $0) } }

    private func text(of picture: Int) -> String {
        let row = picture / max(1, perPrompt)
        var lines = [Self.line(prompts.count == 0 ? "" : prompts.text(0, row))]
        if prompts.hasNegative { lines.append("Negative prompt: \(Self.line(prompts.negativeText(0, row)))") }
        var settings = before
        if let seed = seeds.count == 1 ? seeds.first : seeds.at(picture) {
            settings.append(("Seed", "\(Int(truncatingIfNeeded: seed))"))
        }
        for setting in after.each { settings.append(setting) }
        // A picture that only the whole batch gives again.
        if seeds.count == 1, count > 1 {
            settings.append(("Batch size", "\(count)"))
            settings.append(("Batch pos", "\(picture)"))
        }
        var words: [String] = []
        for setting in settings.each { words.append("\(setting.name): \(Self.quoted(setting.value))") }
        lines.append(words.joined(separator: ", "))
        return lines.joined(separator: "\n")
    }

    /// A prompt of a length that files can bear.
    private static func line(_ text: String) -> String {
        text.utf8.count <= promptBytes ? text : String(text.prefix(promptBytes / 4)) + "…"
    }

    /// A value as it stands in the line: in quotation marks where a comma, a colon or a line break would end it.
    private static func quoted(_ value: String) -> String {
        let ends = [",", ":", "\n"].each.contains { value.holds($0) }
        return ends ? JSON.string(value).serialized() : value
    }

    /// A number, whole ones without a point.
    static func text(of number: Double) -> String {
        Checked.integer(number).map { "\($0)" } ?? JSON.number(number).serialized()
    }

    /// The last part of a model's path, without what says that it is a file.
    static func name(ofModel path: String) -> String {
        var last = path
        for part in path.split(separator: "/") { last = String(part) }
        return last.without(suffix: ".safetensors") ?? last
    }
}

extension PromptImages {
    /// What the pictures of `request` are made with.
    func parameters(
        _ request: PromptImageRequest, _ sampler: String, steps: Int, scale: Double, size: (height: Int, width: Int),
        samples: Int, strength: Double?, hasNoise: Bool
    ) -> PictureParameters {
        let (word, schedule) = Library.commonName(ofSampler: sampler)
        var before: [(name: String, value: String)] = [("Steps", "\(steps)"), ("Sampler", word)]
        if let schedule { before.append(("Schedule type", schedule)) }
        before.append(("CFG scale", PictureParameters.text(of: scale)))
        var after: [(name: String, value: String)] = [("Size", "\(size.width)x\(size.height)"), ("Model", name)]
        if let strength { after.append(("Denoising strength", PictureParameters.text(of: strength))) }
        // Counted from 1, which is the last layer.
        if let skip = request.clipSkip, skip > 0 { after.append(("Clip skip", "\(skip &+ 1)")) }
        if request.steps.eta > 0 { after.append(("Eta", PictureParameters.text(of: request.steps.eta))) }
        after.append(("Version", "DiffAccel \(Library.version)"))
        return PictureParameters(
            request.prompts, count: samples, perPrompt: request.perPrompt, seeds: hasNoise ? [] : request.seeds,
            before: before, after: after)
    }
}

extension Library {
    /// What programs of this field call the sampler of that name, and its schedule of noise, where it has one of its own.
    public static func commonName(ofSampler sampler: String) -> (sampler: String, schedule: String?) {
        let karras = "_karras"
        let isKarras = sampler.hasSuffix(karras)
        let name = sampler.without(suffix: karras) ?? sampler
        let word =
            switch name {
            case "ddim": "DDIM"
            case "ddpm": "DDPM"
            case "pndm": "PLMS"
            case "euler", "flow_euler": "Euler"
            case "euler_a": "Euler a"
            case "heun", "flow_heun": "Heun"
            case "lms": "LMS"
            case "dpmpp_2m": "DPM++ 2M"
            case "dpmpp_2m_sde": "DPM++ 2M SDE"
            case "dpmpp_sde": "DPM++ SDE"
            case "unipc": "UniPC"
            case "lcm": "LCM"
            default: name
            }
        return (word, isKarras ? "Karras" : nil)
    }
}

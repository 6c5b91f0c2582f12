import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `diffaccel info`: facts about a model, or about the library.
struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Describes a model, a picture made of a prompt, or, without either, the library.",
        discussion: "Example: diffaccel info Models/fashion-dit --sites")

    @Argument(help: "Folder of a model, or a safetensors file; or a PNG that says what it was made with.")
    var model: String?

    @Flag(help: "Also list the sites that plans act on.")
    var sites = false

    @Flag(help: "Also list every convolution with the form in which it is computed, at the model's own size.")
    var convolutions = false

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

    func run() throws(DiffError) {
        guard let model else {
            if json { Library.description.print() } else { Self.list(Library.description, "diffaccel") }
            return
        }
        if model.lowercased().hasSuffix(".png") { return try printPicture(model) }
        let opened = try modelOptions.open(model)
        if json {
            opened.description.print()
        } else {
            printModel(opened)
        }
    }

    private func printPicture(_ path: String) throws(DiffError) {
        let text = try PictureText(contentsOf: path)
        if json {
            var members = ["prompt": JSON.string(text.prompt)]
            members["negative_prompt"] = text.negative.map { .string($0) }
            members["settings"] = .object(
                Dictionary(text.settings.map { ($0.name, .string($0.value)) }) { first, _ in first })
            return JSON.object(members).print()
        }
        StandardOutput.say(path)
        var rows = [("  prompt", text.prompt)]
        if let negative = text.negative { rows.append(("  negative prompt", negative)) }
        Facts.print(rows + text.settings.map { ("  \($0.name)", $0.value) })
    }

    private func printModel(_ model: Model) {
        guard case .object(var members) = model.description else { return }
        let names = members["sites"]?.asArray?.compactMap(\.asText) ?? []
        members["sites"] = .integer(names.count)
        for key in ["labels", "unknown_keys", "assumptions", "unused_parts"] where members[key] == .array([]) {
            members[key] = nil
        }
        members["request"] = nil
        let layers = ConvolutionRows(members["convolutions"])
        members["convolutions"] = layers.isEmpty ? nil : .string(layers.summary)
        Self.list(.object(members), model.path)
        if let form = try? model.requestForm {
            StandardOutput.say("")
            RequestTable(form: form, path: model.path).print()
        }
        if convolutions { layers.print() }
        guard sites else { return }
        StandardOutput.say("\nSITES:")
        for (index, name) in names.enumerated() {
            StandardOutput.say("\(String(index).padded(5, right: true))  \(name)")
        }
    }

    /// Members in an order of their own, nested ones with their path.
    private static func list(_ json: JSON, _ heading: String) {
        StandardOutput.say(heading)
        var pairs: [(String, String)] = []
        collect(json, "", into: &pairs)
        let order = ["version", "family", "parameters", "bytes", "flops", "input", "blocks", "sites"]
        func rank(_ name: String) -> Int { order.firstIndex(of: name) ?? order.count }
        pairs.sort { (rank($0.0), $0.0) < (rank($1.0), $1.0) }
        Facts.print(pairs.map { ("  " + title(of: $0.0), $0.1) })
    }

    private static func collect(_ json: JSON, _ path: String, into pairs: inout [(String, String)]) {
        guard case .object(let members) = json else {
            pairs.append((path, text(json, named: path)))
            return
        }
        for (key, value) in members { collect(value, path.isEmpty ? key : "\(path).\(key)", into: &pairs) }
    }

    private static func title(of name: String) -> String {
        switch name {
        case "bytes": "weights in memory"
        case "flops": "arithmetic per call"
        default: name
        }
    }

    private static func text(_ value: JSON, named name: String) -> String {
        switch value {
        case .null: "none"
        case .bool(let flag): flag ? "yes" : "no"
        case .integer(let number) where name == "bytes": Format.bytes(number)
        case .integer(let number): Format.grouped(number)
        case .number(let number) where name == "flops": "\(Format.flops(number)) (one sample, without guidance)"
        case .number(let number): number.description
        case .string(let text): text
        case .array(let elements):
            elements.map { text($0, named: "") }.joined(separator: name == "input" ? " x " : ", ")
        // Options, each by its name.
        case .object: value["name"]?.asText ?? ""
        }
    }
}

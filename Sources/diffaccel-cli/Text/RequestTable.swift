import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// What requests to a model may say, as a part of the help.
struct RequestTable {
    private static let width = 100
    private static let column = 26

    let form: RequestForm
    /// What the model is called.
    let path: String

    /// Prints the options and the tensors.
    func print() {
        StandardOutput.say("OPTIONS OF \(path):")
        for option in form.options { row(GivenOption.dashed(option.name), "\(option.summary) (\(values(option)))") }
        guard !form.tensors.isEmpty else { return }
        StandardOutput.say("\nTENSORS, which its requests may bring in C, Python and Swift:")
        for tensor in form.tensors {
            row("\(tensor.name)", "\(tensor.summary) (\(tensor.element.rawValue) \(tensor.shape))")
        }
    }

    /// The type and the default.
    private func values(_ option: OptionSpec) -> String {
        // The command line reads classes its own way.
        if option.name == "labels" { return "3,5 or 0-9 or dress,bag or all; default: all, up to 16" }
        return "\(option.type); " + (option.defaultText.map { "default: \($0)" } ?? "required")
    }

    /// A name, and beside it a text in lines of a width that can be read.
    private func row(_ name: String, _ text: String) {
        var (lines, line) = ([String](), "")
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > Self.width - Self.column {
                lines.append(line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        lines.append(line)
        let margin = String(repeating: " ", count: Self.column)
        let title = "  \(name)".padded(Self.column)
        if name.count + 3 > Self.column { StandardOutput.say("  \(name)") }
        for (index, line) in lines.enumerated() {
            StandardOutput.say((index == 0 && name.count + 3 <= Self.column ? title : margin) + line)
        }
    }

    /// Behind the general help that `words` asked for: the options of the model that they name, if they do.
    static func print(askedBy words: [String]) throws(DiffError) {
        let own = words.prefix { $0 != "--" }
        let rest = own.filter { $0 != "--help" && $0 != "-h" } + words.dropFirst(own.count)
        guard rest.count < words.count, let command = (try? DiffAccelCommand.parseAsRoot(rest)) as? any RequestCommand
        else {
            return
        }
        let model = try command.modelOptions.open(command.model)
        StandardOutput.say("")
        RequestTable(form: try model.requestForm, path: command.model).print()
    }
}

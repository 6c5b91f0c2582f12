import ArgumentParser
import DiffCheckpoint

/// A command that takes the options of a model's requests beside its own.
protocol RequestCommand: ParsableCommand {
    /// The words after the program's name that call it.
    static var words: [String] { get }
    /// Folder of the model.
    var model: String { get }
    var modelOptions: ModelOptionGroup { get }
}

/// The words of a command line, of which the program knows some options and a model the others.
///
/// Which options a model takes is known when it is open, and the parser wants to know all of them before. So every option that is not the
/// program's own is carried through the parser by one that is: `--top-k 5` as `--model-option=top_k=5`.
enum ModelOptionWords {
    /// The option that carries.
    static let carrier = "model-option"

    private static let commands: [any RequestCommand.Type] = [
        SampleCommand.self, BenchCommand.self, PlanCommand.Sweep.self,
    ]

    /// `words` as the parser takes them; those of commands without a model's options are as they were.
    static func carried(_ words: [String]) -> [String] {
        guard let command = commands.first(where: { words.starts(with: $0.words) }) else { return words }
        return command.words + carried(Array(words.dropFirst(command.words.count)), known: known(of: command))
    }

    /// The same after the command's name: `known` has the program's options and whether a value follows each.
    ///
    /// An option's value is the next word, unless that is an option too: two dashes, a letter, and what names are made of. Everything
    /// behind `--` is left as it is.
    static func carried(_ words: [String], known: [String: Bool]) -> [String] {
        var (carried, rest) = ([String](), words[...])
        while let word = rest.popFirst() {
            guard word != "--" else { return carried + [word] + rest }
            guard let option = option(word) else {
                carried.append(word)
                continue
            }
            if let takesValue = known[option.name] {
                carried.append(word)
                if takesValue, option.value == nil, let value = rest.popFirst() { carried.append(value) }
                continue
            }
            var value = option.value
            if value == nil, let next = rest.first, next != "--", next != "-h", Self.option(next) == nil {
                value = rest.removeFirst()
            }
            carried.append("--\(carrier)=\(option.name)" + (value.map { "=\($0)" } ?? ""))
        }
        return carried
    }

    /// The name and, behind `=`, the value of a word that is a long option.
    private static func option(_ word: String) -> (name: String, value: String?)? {
        guard word.hasPrefix("--") else { return nil }
        let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = parts.first, let first = name.first, first.isLetter,
            name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") })
        else { return nil }
        return (String(name), parts.count > 1 ? String(parts[1]) : nil)
    }

    /// The long options of `command` itself, and whether a value follows each: what its own help is made of.
    static func known(of command: any RequestCommand.Type) -> [String: Bool] {
        var known = ["help": false, "help-hidden": false, "version": false]
        let help = try? JSON(parsing: command._dumpHelp(), source: "the parser's options")
        for argument in help?["command"]?["arguments"]?.asArray ?? [] {
            for name in argument["names"]?.asArray ?? [] where name["kind"]?.asText == "long" {
                if let word = name["name"]?.asText { known[word] = argument["kind"]?.asText == "option" }
            }
        }
        return known
    }
}

/// An option of a model's requests as it is on the command line.
struct GivenOption: ExpressibleByArgument {
    /// The name in the form's spelling, with underscores.
    let name: String
    /// Nil for an option without a value.
    let value: String?

    init?(argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        name = Self.underscored(parts.first ?? "")
        value = parts.count > 1 ? String(parts[1]) : nil
    }

    /// How people write `name`: `top_k` as `--top-k`.
    static func dashed(_ name: String) -> String { "--" + String(name.map { $0 == "_" ? "-" : $0 }) }

    private static func underscored(_ name: Substring) -> String { String(name.map { $0 == "-" ? "_" : $0 }) }
}

/// Wrong usage of the command line, found after the parser had its say.
struct UsageError: Error {
    /// What is wrong and what to do.
    let message: String

    init(_ message: String) { self.message = message }
}

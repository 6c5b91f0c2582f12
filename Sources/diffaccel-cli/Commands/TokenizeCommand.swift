import ArgumentParser
import DiffAccel
import DiffCheckpoint
import DiffModels

/// `diffaccel tokenize`: what a model's tokenizer makes of lines of text.
struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Reads lines of text and prints the tokens of each as JSON.",
        discussion: "Example: printf 'Hello world\\n' | diffaccel tokenize LLaDA-8B-Instruct/tokenizer.json")

    @Argument(help: "A tokenizer.json, or a folder with one, with vocab.json and merges.txt, or with spiece.model.")
    var path: String

    @Flag(help: "With the special tokens that the tokenizer puts around a text.")
    var special = false

    @Flag(help: "Control tokens that a line spells out, such as <|endoftext|>, become those tokens, not plain text.")
    var allowControl = false

    @Flag(help: "With the bytes of each token: [token, first, after the last].")
    var offsets = false

    @Flag(
        help: "The words that a line is cut into before they become tokens, without control tokens, instead of tokens.")
    var words = false

    @Flag(help: "Lines are JSON strings, which may hold line feeds.")
    var jsonLines = false

    @Flag(help: "Lines are JSON lists of tokens, to be decoded.")
    var decode = false

    func run() throws(DiffError) {
        let tokenizer = try Tokenizer(contentsOf: path)
        var number = 0
        try StandardInput.eachLine { (line) throws(DiffError) in
            number += 1
            let place = "standard input, line \(number)"
            StandardOutput.say(try decode ? decoded(line, tokenizer, place) : encoded(line, tokenizer, place))
        }
    }

    private func encoded(_ line: String, _ tokenizer: Tokenizer, _ place: String) throws(DiffError) -> String {
        var text = line
        if jsonLines {
            guard let given = try JSON(parsing: line, source: place).asText else {
                throw DiffError(.format, "\(place): expected a JSON string")
            }
            text = given
        }
        if words { return JSON.array(try tokenizer.words(in: text).map { .string($0) }).serialized() }
        let tokens = try tokenizer.encode(text, addsSpecial: special, allowsControl: allowControl)
        let values = tokens.map { token -> JSON in
            guard offsets else { return .integer(token.id) }
            return .array([token.id, token.bytes.lowerBound, token.bytes.upperBound].map { .integer($0) })
        }
        return JSON.array(values).serialized()
    }

    private func decoded(_ line: String, _ tokenizer: Tokenizer, _ place: String) throws(DiffError) -> String {
        let tokens = try JSON(parsing: line, source: place).asArray
        guard let tokens, let ids = Optional(tokens.compactMap(\.asInt)), ids.count == tokens.count else {
            throw DiffError(.format, "\(place): expected a JSON list of tokens")
        }
        return JSON.string(tokenizer.decode(ids)).serialized()
    }
}

import DiffCheckpoint
import DiffTensor
import Testing

/// Options that are declared once: checking, defaults, errors and descriptions come from the declaration.
@Suite struct OptionTests {
    private let table = [
        OptionSpec("steps", .integer(1...1000), default: .integer(50), "Number of sampling steps."),
        OptionSpec("eta", .number(0...1), default: .number(0), "DDIM's noise."),
        OptionSpec("sampler", .choice(["ddim", "ddpm"]), absent: "the model's own", "The sampler."),
        OptionSpec("labels", .list(.either([.integer(0...9), .text]), 1...4), "A class for each sample."),
        OptionSpec("top_k", .oneOrMore(.integer(0...100)), absent: "all", "Candidates."),
        OptionSpec("decode", .flag, default: .bool(true), "Whether to decode."),
        OptionSpec("schedule", .object("an object"), absent: "none", "Further settings."),
    ]

    private func options(_ text: String) throws(DiffError) -> Options {
        try Options(
            JSONObject(JSON(parsing: text, source: "request"), source: "request"), table, code: .invalidArgument)
    }

    @Test func valuesAndDefaults() throws {
        let given = try options(#"{"labels": [3, "sneaker"], "steps": 20.0, "top_k": 7, "decode": 0, "comment": "x"}"#)
        #expect(try given.get("steps") == 20 && given.get("eta") == 0.0 && given.get("decode") == false)
        #expect(try given.optional("sampler", as: String.self) == nil)
        #expect(try given.get("top_k") == [7])
        #expect(try options(#"{"labels": [1], "top_k": [1, 2]}"#).get("top_k") == [1, 2])
        #expect(try options(#"{"labels": [1], "steps": null}"#).get("steps") == 50, "null is absent")
    }

    @Test(arguments: [
        (#"{"labels": [1], "stepz": 1}"#, #"no option "stepz"; did you mean "steps"?"#),
        (#"{"labels": [1], "zzzzzz": 1}"#, "there are steps, eta"),
        (#"{}"#, #"the option "labels" is missing"#),
        (#"{"labels": [1], "steps": 0}"#, "steps: expected an integer in 1...1000, found 0"),
        (#"{"labels": [1], "steps": 1.5}"#, "found 1.5"),
        (#"{"labels": [1], "eta": NaN}"#, "expected a number in 0...1"),
        (#"{"labels": [1], "sampler": "dim"}"#, #"expected one of "ddim", "ddpm", found "dim""#),
        (#"{"labels": []}"#, "labels: expected a list"),
        (#"{"labels": [1, 12]}"#, "labels[1]: expected a list"),
        (#"{"labels": 1}"#, "found 1"),
        (#"{"labels": [1], "top_k": [1, -1]}"#, "top_k[1]: "),
        (#"{"labels": [1], "decode": "yes"}"#, "expected true or false"),
        (#"{"labels": [1], "schedule": 1}"#, "expected an object"),
    ])
    func whatIsWrongIsNamed(_ text: String, _ expected: String) throws {
        let error = #expect(throws: DiffError.self) { try options(text) }
        #expect(error?.code == .invalidArgument && error?.message.contains(expected) == true, "\(error?.message ?? "")")
    }

    @Test func readingWhatIsNotDeclaredIsADefect() throws {
        let given = try options(#"{"labels": [1]}"#)
        #expect(throws: DiffError.self) { try given.get("stps", as: Int.self) }
        #expect(throws: DiffError.self) { try given.get("labels", as: Bool.self) }
    }

    @Test func descriptionsAreJSONSchema() throws {
        let json = try JSONObject(table[0].json, source: "option")
        #expect(json.value("type") == .string("integer") && json.value("maximum") == .integer(1000))
        #expect(
            json.value("default") == .integer(50) && json.value("description") == .string("Number of sampling steps."))
        #expect(table[2].helpLine == #"sampler: one of "ddim", "ddpm" (default: the model's own). The sampler."#)
        #expect(table[3].type.schema["items"] != nil && table[4].type.schema["anyOf"] != nil)
    }
}

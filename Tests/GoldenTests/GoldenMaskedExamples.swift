import DiffAccel
import DiffCheckpoint
import Testing

/// Single requests on the recorded models, with what the published algorithms give.
@Suite struct GoldenMaskedExamples {
    private func model(_ name: String, _ changes: [String: JSON] = [:]) throws -> Model? {
        guard let path = GoldenRoots.directories.first(where: { $0.name == name })?.path else { return nil }
        var members = try GoldenFixture(path: path).config.object("model").members
        for (key, value) in changes { members[key] = value }
        var options = ModelOptions()
        options.config = .object(members)
        return try Model("\(path)/weights.safetensors", options)
    }

    private func generate(_ model: Model, _ change: (inout SampleRequest) -> Void) throws -> SampleResult {
        var text = SampleRequest()
        change(&text)
        let request = text
        return try model.session().sample(request)
    }

    /// The network without guidance is shown what was filled in, and none of the caller's tokens.
    @Test func guidanceWithAMaskInThePrompt() throws {
        guard let model = try model("dkv_llada_base") else { return }
        let made = try generate(model) { ($0["tokens"], $0["length"], $0["guidance"]) = ([[127, 5]], 2, 1.5) }
        #expect(made.sequences == [[49, 5, 127, 18]] && made.tokens == [[127, 18]] && made.filled == [[0, 3]])
        let filled = try generate(model) {
            ($0["tokens"], $0["length"], $0["guidance"], $0["infill"]) = ([[127, 5]], 2, 1.5, true)
        }
        #expect(filled.sequences == [[49, 5, 11, 18]] && filled.filled == [[0, 2, 3]])
    }

    @Test func theBaseOfRotaryPositionsWhereverItStands() throws {
        let nested: JSON = .object(["rope_theta": .number(1e6), "rope_type": .string("default")])
        guard let plain = try model("dkv_dream_base"),
            let newer = try model("dkv_dream_base", ["rope_theta": .null, "rope_parameters": nested]),
            let other = try model("dkv_dream_base", ["rope_theta": .null])
        else { return }
        let texts = try [plain, newer, other].map { model in
            try generate(model) { ($0["tokens"], $0["length"]) = ([[3, 17, 22, 9, 41, 5, 77]], 8) }.tokens[0]
        }
        #expect(texts[0] == [69, 41, 95, 17, 64, 33, 118, 99] && texts[1] == texts[0] && texts[2] != texts[0])
    }
}

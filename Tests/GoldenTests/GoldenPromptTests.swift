import DiffCheckpoint
import DiffModels
import DiffTensor
import Testing

/// Prompts to embeddings in whole folders of pipelines (`sd-e2e`, `sdxl-e2e`, `sd3-e2e`): tokenizer and encoder of each part together.
@Suite struct GoldenPromptTests {
    private static let names = ["sd-e2e", "sdxl-e2e", "sd3-e2e"]

    private struct Part {
        let prompts: PromptTokenizer
        let clip: CLIPTextEncoder?
        let t5: T5Encoder?

        init?(_ folder: Checkpoint, _ number: String) throws {
            guard try folder.hasSubdirectory("text_encoder\(number)"), let directory = folder.directory,
                let prompts = try PromptTokenizer(in: directory.subdirectory("tokenizer\(number)"))
            else { return nil }
            let checkpoint = try folder.subdirectory("text_encoder\(number)")
            self.prompts = prompts
            if number == "_3" {
                (clip, t5) = (nil, try T5Encoder(T5Configuration(checkpoint.configuration), checkpoint.weights()))
            } else {
                t5 = nil
                clip = try CLIPTextEncoder(CLIPTextConfiguration(checkpoint.configuration), checkpoint.weights())
            }
        }
    }

    @Test(arguments: names)
    func promptsBecomeTheRecordedTokensAndEmbeddings(_ name: String) throws {
        guard let set = GoldenRoots.directories.first(where: { $0.name == name }) else { return }
        let fixture = try GoldenFixture(path: set.path)
        let folder = try Checkpoint.open(path: "\(set.path)/model")
        let parts = try ["", "_2", "_3"].map { try Part(folder, $0) }
        guard case .array(let runs)? = fixture.config.value("runs") else {
            return try single(fixture, try #require(parts[0]))
        }
        for value in runs {
            let run = try JSONObject(value, source: name)
            try check(run, fixture, parts)
        }
    }

    /// SD 1 and 2: the states of the last layer, after its norm.
    private func single(_ fixture: GoldenFixture, _ part: Part) throws {
        let length = try #require(part.prompts.maxLength)
        for (key, prefix) in [("prompt", ""), ("negative_prompt", "negative_")] {
            let row = try part.prompts.row(fixture.config.string(key), length: length)
            #expect(row.ids == (try fixture.integers("\(prefix)input_ids")), "\(key)")
            let encoder = try #require(part.clip)
            let states = try encoder([row.ids], Run(pool: nil, budget: nil)).states
            near(states.array, try fixture.floats("\(prefix)prompt_embeds"), 2e-5, key)
        }
    }

    private func near(_ found: [Float], _ expected: [Float], _ bound: Float, _ name: String) {
        #expect(found.count == expected.count, "\(name)")
        let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
        #expect(worst <= bound, "\(name)")
    }

    /// SDXL and SD3: the recorded ids, and the pooled vectors of the positive half.
    private func check(_ run: JSONObject, _ fixture: GoldenFixture, _ parts: [Part?]) throws {
        let (name, given) = (try run.string("name"), try run.object("kw"))
        let isSD3 = fixture.name.hasPrefix("sd3")
        let length = try #require(parts[0]?.prompts.maxLength)
        var pooled: [[Float]] = []
        var count = 0
        for (number, suffix) in ["", "_2", "_3"].enumerated() {
            guard let part = parts[number], fixture.has("\(name).ids\(suffix)") else { continue }
            let prompts = try texts(given, suffix)
            let size = number < 2 ? length : try given.integer("max_sequence_length", in: 1...512, default: 256)
            let rows = try prompts.map { try part.prompts.row($0, length: size).ids }
            #expect(rows.flatMap { $0 } == (try fixture.integers("\(name).ids\(suffix)")), "\(name)\(suffix)")
            count = rows.count
            guard let clip = part.clip, isSD3 || number == 1 else { continue }
            let output = try clip(rows, hidden: clip.configuration.layers - 1, Run(pool: nil, budget: nil))
            pooled.append(try #require(output.pooled).array)
        }
        var joined: [Float] = []
        for text in 0..<count {
            for vectors in pooled {
                let width = vectors.count / count
                joined += vectors[(text * width)..<((text + 1) * width)]
            }
        }
        near(joined, try fixture.floats("\(name).pooled_prompt_embeds"), isSD3 ? 5e-5 : 2e-5, "\(name) pooled")
    }

    /// The prompts of one encoder: its own, or those of the first.
    private func texts(_ given: JSONObject, _ suffix: String) throws -> [String] {
        for key in ["prompt\(suffix)", "prompt"] {
            switch given.value(key) {
            case .string(let text)? where !text.isEmpty || key == "prompt": return [text]
            case .array?: return try given.strings(key)
            default: continue
            }
        }
        return []
    }
}

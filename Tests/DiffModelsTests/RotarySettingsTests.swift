import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// Rotary positions in every key that configs write them in: honoured, or refused by name.
@Suite struct RotarySettingsTests {
    private static let families = ["dream", "llada", "illada"]

    private func base(_ family: String, _ changes: String) throws -> Float {
        var tiny = TinyLanguageModel()
        (tiny.isDream, tiny.isILLaDA) = (family == "dream", family == "illada")
        guard case .object(let members) = try JSON(parsing: changes, source: "test") else { return 0 }
        tiny.changes = ["rope_theta": .null].merging(members) { $1 }
        return try LanguageConfiguration(JSONObject(tiny.config, source: "config.json")).rotaryBase
    }

    @Test(
        arguments: [
            #"{"rope_theta": 2e6}"#, #"{"rope_parameters": {"rope_theta": 2e6}}"#,
            #"{"rope_parameters": {"rope_theta": 2000000, "rope_type": "default"}, "rope_scaling": null}"#,
            #"{"rope_theta": 2e6, "rope_parameters": {"rope_theta": 2e6, "type": "default", "factor": 1.0}}"#,
            #"{"rope_scaling": {"rope_theta": 2e6, "rope_type": "default"}, "partial_rotary_factor": 1}"#,
            #"{"rope_theta": 2e6, "rope_scaling": {}, "rope_parameters": {"original_max_position_embeddings": 8}}"#,
            #"{"rope_parameters": {"full_attention": {"rope_theta": 2e6}, "sliding_attention": {"rope_theta": 2e6}}}"#,
        ], families)
    func everyKeyIsRead(_ changes: String, _ family: String) throws {
        #expect(try base(family, changes) == 2e6)
    }

    @Test(
        arguments: [
            (
                "rope_parameters.rope_type",
                #"{"rope_parameters": {"rope_theta": 2e6, "rope_type": "linear", "factor": 2}}"#
            ),
            ("rope_scaling.rope_type", #"{"rope_theta": 2e6, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}"#),
            ("rope_scaling.type", #"{"rope_theta": 2e6, "rope_scaling": {"type": "dynamic", "factor": 2}}"#),
            ("rope_parameters.rope_type", #"{"rope_parameters": {"rope_theta": 2e6, "rope_type": "llama3"}}"#),
            ("rope_parameters.factor", #"{"rope_parameters": {"rope_theta": 2e6, "factor": 2}}"#),
            ("rope_parameters.partial_rotary_factor", #"{"rope_parameters": {"partial_rotary_factor": 0.5}}"#),
            ("partial_rotary_factor", #"{"rope_theta": 2e6, "partial_rotary_factor": 0.5}"#),
            ("rope_parameters.rope_theta", #"{"rope_theta": 1e4, "rope_parameters": {"rope_theta": 2e6}}"#),
            ("rope_scaling.rope_theta", #"{"rope_parameters": {"rope_theta": 1}, "rope_scaling": {"rope_theta": 2}}"#),
            (
                "sliding_attention.rope_theta",
                #"{"rope_parameters": {"full_attention": {"rope_theta": 9}, "sliding_attention": {"rope_theta": 8}}}"#
            ),
            ("rope_parameters.mrope_section", #"{"rope_theta": 2e6, "rope_parameters": {"mrope_section": [1, 2]}}"#),
            ("rope_parameters.rope_theta", #"{"rope_parameters": {"rope_theta": "1e6"}}"#),
            ("rope_parameters", #"{"rope_theta": 2e6, "rope_parameters": 3}"#),
        ], families)
    func othersAreRefusedByName(_ example: (name: String, changes: String), _ family: String) {
        let error = #expect(throws: DiffError.self) { try base(family, example.changes) }
        #expect(error?.message.contains(example.name) ?? false, "\(error?.message ?? "")")
    }

    /// The classes' own defaults; iLLaDA's is not known.
    @Test func withoutAnyKey() throws {
        #expect(try base("dream", "{}") == 10000)
        #expect(try base("llada", "{}") == 10000)
        #expect(throws: DiffError.self) { _ = try base("illada", "{}") }
    }
}

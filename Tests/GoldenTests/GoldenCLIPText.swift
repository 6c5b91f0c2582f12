import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `sd-clip`: CLIP's text tower, every layer, the pooled state and its projection.
enum GoldenCLIPText {
    /// NOTES.md: largest difference.
    static let states = GoldenTolerance.absolute(2e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let encoder = try CLIPTextEncoder(CLIPTextConfiguration(checkpoint.configuration), checkpoint.weights())
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [encoder.layout], calls: 1, rows: 1))
        report.uses("input_ids")
        let ids = try rows(fixture, "input_ids")
        let pooled = fixture.has("text_embeds") ? "text_embeds" : "pooler_output"
        let output = try encoder(ids, run)
        try report.compare("last_hidden_state", output.states, states)
        if let vectors = output.pooled { try report.compare(pooled, vectors, states) }
        for layer in 0...encoder.configuration.layers {
            let hidden = try encoder(ids, hidden: layer, pools: false, run)
            try report.compare("hidden_states.\(layer)", hidden.states, states)
            // As a whole, the last layer included, the numbers are the same.
            let both = try encoder(ids, hidden: layer, run)
            if both.states.array != hidden.states.array || both.pooled?.array != output.pooled?.array {
                report.fail("hidden_states.\(layer)", "other bits beside the pooled state")
            }
        }
        let sites = encoder.layout.sites(.block, .attention, .mlp).map { encoder.layout.info($0).name }
        for name in sites where probe.output(name) == nil { report.fail(name, "the site was not reached") }

        let model = try Model(fixture.path)
        if model.familyName != "clip_text" { report.fail("config.json", "family \(model.familyName)") }
        var inputs = NamedInputs()
        inputs.integers = ["tokens": ids.flatMap(\.self), "layer": [1]]
        inputs.extents = ["tokens": [ids.count, ids[0].count]]
        let named = try model.forward(inputs, wanted: ["hidden_state", "pooled", "last_hidden_state"])
        for (name, key) in [
            ("last_hidden_state", "last_hidden_state"), ("pooled", pooled), ("hidden_state", "hidden_states.1"),
        ] {
            guard let tensor = named[name] else {
                report.fail(key, "no output \(name)")
                continue
            }
            try report.compare(key, tensor, states)
        }
        // A text's bits are those it has alone.
        for (number, text) in ids.enumerated() {
            let alone = try encoder([text], run)
            let width = alone.states.shape.count
            let together = output.states.array[(number * width)..<((number + 1) * width)]
            if Array(together) != alone.states.array {
                report.fail("last_hidden_state", "text \(number) depends on others")
            }
        }
    }

    /// A matrix of integers as rows.
    static func rows(_ fixture: GoldenFixture, _ key: String) throws -> [[Int]] {
        let (values, length) = (try fixture.integers(key), try fixture.shape(key).last)
        return stride(from: 0, to: values.count, by: length).map { Array(values[$0..<($0 + length)]) }
    }
}

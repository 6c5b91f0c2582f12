import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `text-clap`: CLAP's text tower out of both forms of its files, layer by layer.
enum GoldenCLAP {
    /// NOTES.md: largest difference.
    static let states = GoldenTolerance.absolute(1e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("input_ids", "attention_mask")
        report.leaves("position_ids", because: "positions are seen in what layers are given")
        let ids = try GoldenCLIPText.rows(fixture, "input_ids")
        let mask = try GoldenCLIPText.rows(fixture, "attention_mask").map { $0.map { $0 == 1 } }
        for folder in ["clap_model", "with_projection"] {
            let checkpoint = try Checkpoint.open(path: "\(fixture.path)/\(folder)")
            let encoder = try CLAPTextEncoder(
                CLAPTextConfiguration(checkpoint.configuration), checkpoint.weights())
            let whole = folder == "clap_model"
            if encoder.unused.isEmpty == whole { report.fail(folder, "left out: \(encoder.unused)") }
            try self.encoder(encoder, ids, mask, &report)
            try model("\(fixture.path)/\(folder)", ids, mask, &report)
        }
    }

    private static func encoder(
        _ encoder: CLAPTextEncoder, _ ids: [[Int]], _ mask: [[Bool]], _ report: inout GoldenReport
    ) throws {
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [encoder.layout], calls: 1, rows: 1))
        let output = try encoder(ids, mask: mask, run)
        try report.compare("last_hidden_state", output.states, states)
        try report.compare("pooler_output", output.pooled, states)
        try report.compare("text_embeds", output.projected, states)
        try report.compare("text_features", output.vectors, states)
        for layer in 0...encoder.configuration.layers {
            let found =
                layer == encoder.configuration.layers
                ? probe.output("text_model.encoder.layer.\(layer - 1)")
                : probe.input("text_model.encoder.layer.\(layer)")
            if let found { try report.compare("hidden.\(layer)", found, states) }
        }
        try report.compare("text_features_nomask", encoder(ids, run).vectors, states)
        // Without its padding a text has the same vector.
        var short: [Float] = []
        for (number, text) in ids.enumerated() {
            let length = mask[number].filter { $0 }.count
            short += try encoder([Array(text.prefix(length))], run).vectors.array
            let alone = try encoder([text], mask: [mask[number]], run).vectors.array
            let width = encoder.configuration.projection
            if alone != Array(output.vectors.array[(number * width)..<((number + 1) * width)]) {
                report.fail("text_features", "text \(number) depends on others")
            }
        }
        try report.compare("text_features", short, states)
    }

    /// The same through the front door.
    private static func model(
        _ folder: String, _ ids: [[Int]], _ mask: [[Bool]], _ report: inout GoldenReport
    ) throws {
        let model = try Model(folder)
        if model.familyName != "clap_text" { report.fail(folder, "family \(model.familyName)") }
        var inputs = NamedInputs()
        inputs.integers = ["tokens": ids.flatMap(\.self), "mask": mask.flatMap { $0.map { $0 ? 1 : 0 } }]
        inputs.extents = ["tokens": [ids.count, ids[0].count], "mask": [ids.count, ids[0].count]]
        let outputs = try model.forward(inputs, wanted: model.forwardNames.outputs)
        for (name, key) in [
            ("last_hidden_state", "last_hidden_state"), ("pooled", "pooler_output"),
            ("text_embeds", "text_embeds"), ("text_features", "text_features"),
        ] {
            guard let tensor = outputs[name] else {
                report.fail(key, "no output \(name)")
                continue
            }
            try report.compare(key, tensor, states)
        }
    }
}

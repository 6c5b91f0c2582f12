import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `text-t5`: T5's encoder in both forms of its MLP, with padding seen and unseen, and the kinds of distances.
enum GoldenT5 {
    /// NOTES.md: largest difference.
    static let states = GoldenTolerance.absolute(5e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let folders = try fixture.config.object("configs")
        for name in folders.keys {
            let folder = try folders.object(name).string("folder", default: name)
            try encoder(name, "\(fixture.path)/\(folder)", fixture, &report)
        }
        let range = try fixture.config.integers("relative_positions", in: -1 << 20...1 << 20)
        for key in fixture.keys("buckets.") {
            let sizes = key.dropFirst("buckets.".count).split(separator: "_").compactMap { Int($0) }
            let buckets = RelativeBuckets(count: sizes[0], maxDistance: sizes[1])
            try report.compare(key, integers: (range[0]...range[1]).map { buckets.bucket(of: $0) })
        }
    }

    private static func encoder(
        _ name: String, _ folder: String, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let checkpoint = try Checkpoint.open(path: folder)
        let configuration = try T5Configuration(checkpoint.configuration)
        let encoder = try T5Encoder(configuration, checkpoint.weights())
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [encoder.layout], calls: 1, rows: 1))
        for form in ["padded", "nomask", "long"] {
            let key = "\(name).\(form)"
            guard fixture.has("\(key).input_ids") else { continue }
            let ids = try GoldenCLIPText.rows(fixture, "\(key).input_ids")
            report.uses("\(key).input_ids", "\(key).attention_mask")
            var mask: [[Bool]]?
            if fixture.has("\(key).attention_mask") {
                mask = try GoldenCLIPText.rows(fixture, "\(key).attention_mask").map { $0.map { $0 == 1 } }
            }
            let output = try encoder(ids, mask: mask, run)
            try report.compare("\(key).last_hidden_state", output, states)
            for layer in 0...configuration.layers where fixture.has("\(key).hidden.\(layer)") {
                let found =
                    layer == configuration.layers
                    ? probe.output("encoder.block.\(layer - 1)") : probe.input("encoder.block.\(layer)")
                if let found { try report.compare("\(key).hidden.\(layer)", found, states) }
            }
            try model(folder, ids, mask, output, key, &report)
            let width = output.shape.count / ids.count
            for (number, text) in ids.enumerated() {
                let alone = try encoder([text], mask: mask.map { [$0[number]] }, run).array
                if alone != Array(output.array[(number * width)..<((number + 1) * width)]) {
                    report.fail(key, "text \(number) depends on others")
                }
            }
        }
        let range = try fixture.config.integers("relative_positions", in: -1 << 20...1 << 20)
        let buckets = RelativeBuckets(count: configuration.buckets, maxDistance: configuration.maxDistance)
        try report.compare("\(name).buckets", integers: (range[0]...range[1]).map { buckets.bucket(of: $0) })
    }

    /// The same through the front door, bit for bit.
    private static func model(
        _ folder: String, _ ids: [[Int]], _ mask: [[Bool]]?, _ expected: Tensor, _ key: String,
        _ report: inout GoldenReport
    ) throws {
        let model = try Model(folder)
        if model.familyName != "t5_encoder" { report.fail(key, "family \(model.familyName)") }
        var inputs = NamedInputs()
        inputs.integers["tokens"] = ids.flatMap(\.self)
        inputs.extents["tokens"] = [ids.count, ids[0].count]
        if let mask {
            inputs.integers["mask"] = mask.flatMap { $0.map { $0 ? 1 : 0 } }
            inputs.extents["mask"] = [ids.count, ids[0].count]
        }
        let states = try model.forward(inputs)["last_hidden_state"]
        if states?.array != expected.array { report.fail(key, "other bits as a model of its own") }
    }
}

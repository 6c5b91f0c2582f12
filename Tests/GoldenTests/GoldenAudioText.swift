import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `audioldm2_text`: the projection of two texts to one sequence, and the language model that continues it.
enum GoldenAudioText {
    /// NOTES.md: largest difference.
    static let states = GoldenTolerance.absolute(2e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let folder = try Checkpoint.open(path: "\(fixture.path)/language_model")
        let model = try GPT2(GPT2Configuration(folder.configuration), folder.weights())
        let count = try fixture.config.integer("max_new_tokens", in: 1...1000)
        report.verify("max_new_tokens", model.configuration.generated == count ? nil : "as the config says")
        for half in ["cond", "uncond"] {
            report.uses("\(half).clap", "\(half).t5", "\(half).t5_mask")
            let sequence = try projected(
                half, "projection_model", states: "\(half).t5", mask: "\(half).t5_mask", fixture, &report)
            try firstPass(half, model, sequence, &report)
            try continued(half, model, sequence, count, &report)
        }
        report.uses("positions.clap", "positions.states", "positions.mask")
        let sequence = try projected(
            "positions", "projection_model_positions", states: "positions.states", mask: "positions.mask", fixture,
            &report)
        let more = try fixture.config.integer("positions_new_tokens", in: 1...1000)
        try continued("positions", model, sequence, more, &report)
    }

    private static func projected(
        _ half: String, _ folder: String, states: String, mask: String, _ fixture: GoldenFixture,
        _ report: inout GoldenReport
    ) throws -> AudioProjection.Sequence {
        let checkpoint = try Checkpoint.open(path: "\(fixture.path)/\(folder)")
        let projection = try AudioProjection(
            AudioProjectionConfiguration(checkpoint.configuration), checkpoint.weights())
        let vectors = try fixture.tensor("\(half).clap")
        let seen = try GoldenCLIPText.rows(fixture, mask).map { $0.map { $0 == 1 } }
        let sequence = try projection(
            vectors.reshaped(Shape(vectors.shape[0], vectors.shape.last)), fixture.tensor(states), mask: seen,
            Run(pool: nil, budget: nil))
        try report.compare("\(half).projected", sequence.vectors, Self.states)
        try report.compare("\(half).projected_mask", integers: sequence.mask.flatMap { $0.map { $0 ? 1 : 0 } })
        return sequence
    }

    private static func firstPass(
        _ half: String, _ model: GPT2, _ sequence: AudioProjection.Sequence, _ report: inout GoldenReport
    ) throws {
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [model.layout], calls: 1, rows: 1))
        let last = try model(sequence.vectors, mask: sequence.mask, run)
        let name = model.layout.sites(.block).map { model.layout.info($0).name }
        for block in 0..<model.configuration.layers {
            guard let input = probe.input(name[block]) else {
                report.fail("\(half).step0.hidden.\(block)", "the block was not reached")
                continue
            }
            try report.compare("\(half).step0.hidden.\(block)", input, states)
        }
        try report.compare("\(half).step0.hidden.\(model.configuration.layers)", last, states)
    }

    private static func continued(
        _ half: String, _ model: GPT2, _ sequence: AudioProjection.Sequence, _ count: Int,
        _ report: inout GoldenReport
    ) throws {
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let made = try model.continued(sequence.vectors, mask: sequence.mask, by: count, run)
        try report.compare("\(half).generated", made, states)
        // A sequence's bits are those it has alone, and whatever number of threads.
        let one = Run(pool: nil, budget: nil)
        var alone: [Float] = []
        for row in sequence.mask.indices {
            alone += try model.continued(sequence.vectors.rows(row, 1), mask: [sequence.mask[row]], by: count, one)
                .array
        }
        if alone != made.array { report.fail("\(half).generated", "a sequence depends on others") }
    }
}

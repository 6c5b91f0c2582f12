import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// How far int8 weights move the logits of the recorded language models from those of the published code.
@Suite struct GoldenQuantisedTests {
    /// Measured, in parts of the logits' spread: 0.095 (LLaDA) and 0.044 (Dream), the root of the mean of squares; 0.71 and 0.25 at most.
    /// These networks are random and sensitive: weights rounded to bf16 move their logits by 0.014 and 0.012.
    private static let (typical, largest) = (0.2, 1.5)

    @Test func logitsStayNear() throws {
        for (name, path) in GoldenRoots.directories where name.hasPrefix("dkv") {
            let fixture = try GoldenFixture(path: path)
            guard fixture.has("fwd.logits") else { continue }
            let config = JSON.object(try fixture.config.object("model").members)
            let checkpoint = try Checkpoint.open(path: path, config: config)
            let model = try LanguageModel(
                LanguageConfiguration(fixture.config.object("model")), checkpoint.weights(.init(type: .int8)))
            let found = try Self.logits(fixture, model)
            let wanted = try fixture.floats("fwd.logits")
            let spread = Self.root(wanted.map(Double.init))
            let typical = Self.root(zip(found, wanted).map { Double($0) - Double($1) }) / spread
            let worst = Difference(found, wanted).absolute / spread
            print("\(name): int8 logits differ by \(typical) of their spread, \(worst) at most")
            #expect(typical > 0 && typical < Self.typical && worst < Self.largest, "\(name)")
        }
    }

    /// The square root of the mean of squares.
    private static func root(_ values: [Double]) -> Double {
        (values.reduce(0) { $0 + $1 * $1 } / Double(max(1, values.count))).squareRoot()
    }

    private static func logits(_ fixture: GoldenFixture, _ model: LanguageModel) throws -> [Float] {
        let shape = try fixture.shape("fwd.input_ids")
        let ids = try fixture.integers("fwd.input_ids")
        let all = Array(repeating: PositionSet(all: shape[1]), count: shape[0])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [model.layout], calls: 1, rows: shape[0]))
        let memory = try model.memory(Array(repeating: .init(length: shape[1]), count: shape[0]), run)
        let sequences = (0..<shape[0]).map { row in Array(ids.dropFirst(row * shape[1]).prefix(shape[1])) }
        return try model.logits(model.states(sequences, queries: all, wanted: all, memory, run), run).array
    }
}

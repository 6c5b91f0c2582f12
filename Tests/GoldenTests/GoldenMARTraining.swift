import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// The training keys of `mar`: the loss of unknown tokens through head, decoder and encoder, and its gradients.
enum GoldenMARTraining {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        guard fixture.has("train.mask") else { return }
        for recomputes in [false, true] { try pass(fixture, recomputes: recomputes, &report) }
    }

    private static func pass(_ fixture: GoldenFixture, recomputes: Bool, _ report: inout GoldenReport) throws {
        report.uses("train.mask", "train.order", "train.drop", "train.t", "train.noise")
        let parameters = Parameters { _ in true }
        let weights = try fixture.checkpoint().weights(Weights.Options(parameters: parameters))
        let mar = try MAR(MARConfiguration(fixture.config, weights), weights)
        let c = mar.configuration
        let labels = zip(try fixture.integers("labels"), try fixture.integers("train.drop")).map {
            $1 != 0 ? c.nullClass : $0
        }
        let mask = try fixture.floats("train.mask")
        func positions(_ value: Float) -> [[Int]] {
            labels.indices.map { sample in (0..<c.tokens).filter { mask[sample * c.tokens + $0] == value } }
        }
        let (known, unknown) = (positions(0), positions(1))
        let times = try fixture.integers("train.t")
        let repeats = times.count / (labels.count * c.tokens)
        // Rows of the fixture that count, and rows of the decoder's output that they are about.
        var (rows, told): ([Int], [Int]) = ([], [])
        for turn in 0..<repeats {
            for (sample, list) in unknown.enumerated() {
                for (index, position) in list.enumerated() {
                    rows.append((turn * labels.count + sample) * c.tokens + position)
                    told.append(sample * list.count + index)
                }
            }
        }
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [mar.layout], calls: 1, rows: labels.count))
        let tokens = try fixture.tensor("tokens")
        let flat = try tokens.reshaped(Shape(labels.count * c.tokens, c.tokenWidth))
        let shape = try Shape(rows.count, c.tokenWidth, 1, 1)
        let clean = try run.embedding(flat, rows.map { $0 % (labels.count * c.tokens) }).reshaped(shape)
        let noise = try run.embedding(fixture.tensor("train.noise"), rows).reshaped(shape)
        let t = rows.map { times[$0] }
        let loss = try DiffusionLoss(DiffusionProcess(.squaredCosine, 1e-4, 0.02, trainSteps: 1000))
        let x = try loss.noised(clean, noise, t, run)
        let gradients = try ParameterGradients(parameters, budget: nil)
        let tape = Tape(gradients, recomputes: recomputes)
        let mean = try run.recording(tape) { () throws(DiffError) in
            let z = try mar(tokens, MARPass(known: known, wanted: unknown, tokens: c.tokens), labels: labels, run)
            let conditions = try run.embedding(mar.head.conditions(z, run), told)
            let y = try run.add(mar.head.times(run.tensor(t.map(Float.init), Shape(t.count)), run), conditions)
            let output = try mar.head(
                x.reshaped(Shape(rows.count, c.tokenWidth)), mar.head.modulations(of: y, run), rows: rows.count, run)
            let wide = try output.reshaped(Shape(rows.count, 2 * c.tokenWidth, 1, 1))
            let gradient = try run.zeros(wide.shape)
            let terms = try loss.evaluate(wide, x0: clean, xt: x, noise: noise, t: t, addingTo: gradient)
            try tape.pass(gradient, to: wide, run)
            try tape.backward(run)
            return terms.mean
        }
        try report.compare("train.loss", [mean], .relative(2e-5))
        try report.compare(gradients: gradients, of: parameters)
    }
}

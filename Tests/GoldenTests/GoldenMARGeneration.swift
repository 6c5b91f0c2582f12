import DiffAccel
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// Whole generations of `mar`: iteration by iteration, and as a caller of the library sees them.
extension GoldenMAR {
    /// A recorded generation.
    struct Recorded {
        let fixture: GoldenFixture
        let key: String
        let iterations: [TokenIteration]
        let order: GenerationOrder

        init(_ fixture: GoldenFixture, _ key: String, _ c: MARConfiguration) throws {
            (self.fixture, self.key) = (fixture, key)
            let flat = try fixture.integers("\(key).orders")
            order = try GenerationOrder(
                stride(from: 0, to: flat.count, by: c.tokens).map { Array(flat[$0..<$0 + c.tokens]) },
                tokens: c.tokens)
            let scale = try fixture.config.number("cfg", in: 0...100)
            let steps = key == "gen" ? try fixture.config.integer("num_iter", in: 1...1000) : 3
            iterations = try TokenIteration.all(
                tokens: c.tokens, iterations: steps, guidance: key == "gen_nocfg" ? 1 : scale,
                key == "gen_const" ? .constant : .linear)
        }

        /// Noise by token of each sample in place of by row of each iteration: [samples, tokens, width], and that of all steps.
        func noise(_ c: MARConfiguration) throws -> (start: Tensor, steps: Tensor) {
            let (samples, width) = (order.positions.count, c.tokenWidth)
            let count = try fixture.shape("\(key).it0.noise")[0]
            var start = [Float](repeating: 0, count: samples * c.tokens * width)
            var steps = [Float](repeating: 0, count: count * start.count)
            for (index, iteration) in iterations.enumerated() {
                let initial = try fixture.floats("\(key).it\(index).init")
                let noise = try fixture.floats("\(key).it\(index).noise")
                let rows = try fixture.shape("\(key).it\(index).noise")[1]
                for (row, token) in tokens(iteration, c).enumerated() {
                    for i in 0..<width {
                        start[token * width + i] = initial[row * width + i]
                        for step in 0..<count {
                            steps[step * start.count + token * width + i] = noise[(step * rows + row) * width + i]
                        }
                    }
                }
            }
            return (
                try Tensor(start, Shape(samples, c.tokens, width)),
                try Tensor(steps, Shape(count, samples, c.tokens, width))
            )
        }

        /// The tokens that an iteration makes, counted through all samples, in the order of its rows.
        func tokens(_ iteration: TokenIteration, _ c: MARConfiguration) -> [Int] {
            order.positions.enumerated().flatMap { sample, order in
                order[iteration.after..<iteration.before].sorted().map { sample * c.tokens + $0 }
            }
        }
    }

    /// The networks of a run, which compare what the head is told with what was recorded.
    private final class Compared: TokenDiffusionNetworks {
        let networks: MARNetworks
        let mar: MAR
        let labels: [Int]
        var told: [[Float]] = []

        init(_ mar: MAR, _ labels: [Int], _ sampler: TokenDiffusionSampler) {
            (self.mar, self.labels) = (mar, labels)
            networks = MARNetworks(
                mar, labels: labels, times: sampler.headTimesteps, mostWanted: sampler.mostWanted)
        }

        func read(_ tokens: Tensor, known: [[Int]], wanted: [[Int]], guided: Bool, _ run: Run) throws(DiffError) {
            try networks.read(tokens, known: known, wanted: wanted, guided: guided, run)
            let pass = try MARPass(known: known, wanted: wanted, tokens: mar.configuration.tokens)
            let rows = guided ? labels + labels.map { _ in mar.configuration.nullClass } : labels
            told.append(try mar(tokens, pass, labels: rows, run).array)
        }

        func prepare(from step: Int, _ run: Run) throws(DiffError) -> Int { try networks.prepare(from: step, run) }

        func predict(_ x: Tensor, step: Int, _ run: Run) throws(DiffError) -> Tensor {
            try networks.predict(x, step: step, run)
        }
    }

    static func generation(_ fixture: GoldenFixture, _ mar: MAR, _ report: inout GoldenReport) throws {
        let c = mar.configuration
        let labels = try fixture.integers("labels")
        let schedule = try schedule(fixture.config.string("num_sampling_steps"))
        let temperature = try fixture.config.number("temperature", in: 0...10)
        for key in ["gen", "gen_const", "gen_nocfg"] {
            let recorded = try Recorded(fixture, key, c)
            report.uses("\(key).orders")
            for name in fixture.keys("\(key).it") where name.hasSuffix("init") || name.hasSuffix("noise") {
                report.uses(name)
            }
            let sampler = try TokenDiffusionSampler(
                recorded.iterations, recorded.order, schedule, temperature: temperature)
            let networks = Compared(mar, labels, sampler)
            let run = Run(pool: nil, budget: nil)
            try run.begin(
                SamplingContext(layouts: [mar.layout], calls: recorded.iterations.count, rows: 2 * labels.count))
            let given = try recorded.noise(c)
            let made = try sampler.sample(
                networks, TokenNoise(TorchRandom(seed: 0), start: given.start, steps: given.steps), width: c.tokenWidth,
                run
            ) { (progress) throws(DiffError) in
                let name = "\(key).it\(progress.index)"
                guard fixture.has("\(name).out") else { return }
                let expected = try fixture.doubles("\(name).out").prefix(progress.predicted.shape.count)
                let difference = Difference(progress.predicted.array, Array(expected))
                report.confirm("\(name).out", difference.absolute <= tokens.allowed(difference) ? nil : "\(difference)")
                try report.compare("\(name).cfg", [Float(progress.iteration.scale)], network)
                if progress.positions != recorded.tokens(progress.iteration, c) { report.fail(name, "other tokens") }
            }
            for (index, told) in networks.told.enumerated() where fixture.has("\(key).it\(index).z") {
                try report.compare("\(key).it\(index).z", told, tokens)
            }
            try report.compare(
                "\(key).out",
                run.unpatchifiedChannels(
                    made, channels: c.channels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize), tokens)
        }
    }

    /// As a caller of the library sees it: the family is known by its config, and noise and order are tensors of the request.
    static func throughTheFrontDoor(_ fixture: GoldenFixture, _ mar: MAR, _ report: inout GoldenReport) throws {
        let c = mar.configuration
        let model = try Model(fixture.path)
        if model.familyName != "mar" { report.fail("config.json", "family \(model.familyName)") }
        let labels = try fixture.integers("labels")
        for key in ["gen", "gen_const", "gen_nocfg"] {
            let recorded = try Recorded(fixture, key, c)
            var request = SampleRequest(["labels": labels.json])
            if key != "gen" { request["steps"] = 3 }
            if key == "gen_const" { request["guidance_schedule"] = .string("constant") }
            if key == "gen_nocfg" { request["guidance"] = 1.0 }
            let order = recorded.order.positions.flatMap { $0 }
            request.tensors["order"] = .integers(order, try Shape(labels.count, c.tokens))
            let (start, steps) = try recorded.noise(c)
            let run = Run(pool: nil, budget: nil)
            func latents(_ x: Tensor) throws -> Tensor {
                let rows = try x.reshaped(Shape(x.shape.count / (c.tokens * c.tokenWidth), c.tokens, c.tokenWidth))
                return try run.unpatchifiedChannels(
                    rows, channels: c.channels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize)
            }
            request.tensors["noise"] = .floats(try latents(start))
            let count = steps.shape[0]
            request.tensors["step_noise"] = .floats(
                try latents(steps).reshaped(Shape([count, labels.count, c.channels, c.side, c.side])))
            let found = try GoldenDiT.state(model.session().sample(request)).array
            let difference = Difference(found, try fixture.doubles("\(key).out"))
            report.confirm(
                "\(key).out", difference.absolute <= tokens.allowed(difference) ? nil : "library: \(difference)")
        }
    }
}

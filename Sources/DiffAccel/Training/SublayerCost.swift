import DiffModels
import DiffTensor

/// What a sub-layer of a router takes in a network call, for one row of the batch.
struct SublayerCost: Sendable {
    /// Of its output.
    var bytes = 0
    /// Multiply-adds, or operations: costs are compared with each other only.
    var work = 0.0
}

extension TrainableDenoiser {
    /// Those of attention and MLP by turns.
    var sublayerCosts: [SublayerCost] {
        let bytes = Checked.multiply(tokens, width &* 4) ?? .max
        let (tokens, width, mlp) = (Double(tokens), Double(width), Double(mlpWidth))
        // Projections and both products of an attention; both layers of an MLP.
        let attention = 4 * width * width * tokens + 2 * tokens * tokens * width
        return sublayers.numbered.map {
            SublayerCost(bytes: bytes, work: $0.offset % 2 == 0 ? attention : 2 * width * mlp * tokens)
        }
    }
}

extension PromptedDenoiser {
    /// Those of a dry run: levels have streams of different widths and lengths.
    var sublayerCosts: [SublayerCost] {
        get throws(DiffError) {
            let meter = SublayerMeter(sublayers)
            let run = Run(dryOn: 1, stack: AccelerationStack([meter]))
            try run.begin(SamplingContext(layouts: [layout], calls: 1, rows: 1))
            let x = try run.workspace.take(Shape(1, channels, side, side))
            _ = try self(x, t: run.filled(1, with: 1), y: [0], run)
            return meter.costs
        }
    }
}

/// Looks on while a network runs and notes what its sub-layers take.
private final class SublayerMeter: Acceleration {
    private let sublayers: [Site]
    private(set) var costs: [SublayerCost]

    init(_ sublayers: [Site]) {
        (self.sublayers, costs) = (sublayers, sublayers.each.map { _ in SublayerCost() })
    }

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        var hooks = HookSet()
        hooks.modules = SiteSet(sublayers)
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        let before = run.trace.flops.first ?? 0
        let output = try compute()
        for (column, sublayer) in sublayers.numbered where sublayer == site {
            costs.put(
                SublayerCost(bytes: output.first.byteCount, work: (run.trace.flops.first ?? 0) - before), at: column)
        }
        return output
    }
}

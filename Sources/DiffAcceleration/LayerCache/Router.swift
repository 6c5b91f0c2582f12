public import DiffTensor
import Glibc

/// A learned router: a logit for every step and sub-layer.
///
/// Row i belongs to the respaced step i (0 is the cleanest, the last row the first executed); column 2l is the attention of
/// block l, 2l + 1 its MLP. A sub-layer is computed where sigmoid(logit) > threshold, strictly; otherwise its output of the
/// full step before is used again. Source: Learning-to-Cache (arXiv 2406.01733), `router_models.py`.
public struct Router: Sendable, Equatable {
    /// [steps][sub-layers], row 0 the cleanest step.
    public let logits: [[Float]]
    /// A sub-layer is computed where its score is strictly above this, 0 ... 1.
    public var threshold: Double
    /// One step in `period` is a full one: 2 as published; more lets several cached steps follow one another.
    public let period: Int

    /// A router of these rows. Throws `format` for rows of different lengths, no rows, or values that are not finite,
    /// `invalidArgument` for a threshold outside 0...1 or a period outside 2...1000.
    public init(logits: [[Float]], threshold: Double, period: Int = 2) throws(DiffError) {
        guard let width = logits.first?.count, width > 0, logits.count <= 100_000 else {
            throw DiffError(.format, "a router needs at least one row of logits")
        }
        for (row, values) in logits.numbered {
            guard values.count == width else {
                throw DiffError(.format, "router row \(row) has \(values.count) logits, row 0 has \(width)")
            }
            guard values.allSatisfy(\.isFinite) else {
                throw DiffError(.format, "router row \(row) holds a number that is not finite")
            }
        }
        guard (0...1).contains(threshold) else {
            throw DiffError(.invalidArgument, "a router's threshold must be 0...1, found \(threshold)")
        }
        guard (2...1000).contains(period) else {
            throw DiffError(.invalidArgument, "a router's period must be 2...1000, found \(period)")
        }
        (self.logits, self.threshold, self.period) = (logits, threshold, period)
    }

    /// Number of sampling steps the router was learned for.
    public var steps: Int { logits.count }
    /// Sub-layers per step.
    public var sublayers: Int { logits.first?.count ?? 0 }

    /// Whether the step `index` (0 the cleanest) is a full one.
    public func isFull(_ index: Int) -> Bool { index % max(1, period) == period &- 1 }

    /// Which sub-layers of row `row` are computed.
    public func computes(row: Int) -> [Bool] {
        // In float32 like the published code, so that scores next to the threshold fall on the same side.
        (logits.at(row) ?? []).map { 1 / (1 + expf(-$0)) > Float(threshold) }
    }
}

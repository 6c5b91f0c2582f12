public import DiffTensor
import Glibc

/// TinyFusion's gates: a logit for every candidate of every group, sampled per sample by the straight-through Gumbel softmax.
///
/// Source: TinyFusion (arXiv 2412.01199), section 3.2; `torch.nn.functional.gumbel_softmax(hard=True)`.
public struct GateLogits: Sendable, Equatable {
    /// The groups, in the order of the blocks.
    public let groups: [GateGroup]
    /// [group][candidate]
    public var logits: [[Float]]

    /// What was sampled for a batch.
    public struct Sample: Sendable {
        /// softmax((scaling · logit + noise) / temperature): [group][sample][candidate]
        public let soft: [[[Float]]]
        /// Position of the largest: [group][sample].
        public let choice: [[Int]]
        /// [blocks][samples], 1 where the block is kept.
        public let masks: [[Float]]
        let temperature, scaling: Double
    }

    /// Logits of 0.02, as published: every candidate is as likely.
    public init(_ groups: [GateGroup]) {
        self.groups = groups
        logits = groups.each.map { $0.candidates.each.map { _ in 0.02 } }
    }

    /// Given logits. Throws `format` when they do not fit the groups.
    public init(_ groups: [GateGroup], logits: [[Float]]) throws(DiffError) {
        guard logits.map(\.count) == groups.map(\.candidates.count), logits.allSatisfy({ $0.allSatisfy(\.isFinite) })
        else { throw DiffError(.format, "the gates' logits do not fit the groups") }
        (self.groups, self.logits) = (groups, logits)
    }

    /// Gumbel noise for `samples` samples as the published code draws it, group by group: [group][sample][candidate].
    public func noise(samples: Int, _ generator: inout TorchRandom) -> [[[Float]]] {
        groups.each.map { group in
            Indices(below: samples).map { _ in
                group.candidates.each.map { _ in
                    // -ln(Exp(1)); the uniform number is kept from 0.
                    var u: Float = 0
                    unsafe withUnsafeMutablePointer(to: &u) { unsafe generator.uniform($0, count: 1) }
                    return -logf(-logf(max(u, 0x1p-25)))
                }
            }
        }
    }

    /// Noise that leaves the choice to the logits: evaluation without randomness.
    public func stillness(samples: Int) -> [[[Float]]] {
        groups.each.map { group in Indices(below: samples).map { _ in group.candidates.each.map { _ in 0 } } }
    }

    /// Chooses a candidate for each sample and group.
    public func sample(temperature: Double, scaling: Double, noise: [[[Float]]]) -> Sample {
        var (soft, choice, masks): ([[[Float]]], [[Int]], [[Float]]) = ([], [], [])
        for (index, group) in groups.numbered {
            let row = logits.at(index) ?? []
            let groupNoise = noise.at(index) ?? []
            let probabilities = groupNoise.each.map { draws in
                Self.softmax(
                    row.numbered.map { (Float(scaling) * $0.element + (draws.at($0.offset) ?? 0)) / Float(temperature) }
                )
            }
            let best = probabilities.each.map(Self.firstLargest)
            for block in Indices(below: group.blocks) {
                masks.append(best.each.map { group.candidates.at($0)?.at(block) == true ? 1 : 0 })
            }
            soft.append(probabilities)
            choice.append(best)
        }
        return Sample(soft: soft, choice: choice, masks: masks, temperature: temperature, scaling: scaling)
    }

    /// The gradient of the logits for that of the masks [blocks][samples], straight through the choice.
    public func gradient(of sample: Sample, masks: [[Float]]) -> [[Float]] {
        var gradients: [[Float]] = []
        var first = 0
        for (index, group) in groups.numbered {
            var sums = group.candidates.each.map { _ in 0.0 }
            for (n, p) in (sample.soft.at(index) ?? []).numbered {
                let dy = group.candidates.each.map { candidate in
                    candidate.numbered.reduce(0.0) { sum, flag in
                        flag.element ? sum + Double(masks.at(first &+ flag.offset)?.at(n) ?? 0) : sum
                    }
                }
                let mean = dy.numbered.reduce(0.0) { $0 + Double(p.at($1.offset) ?? 0) * $1.element }
                for (a, value) in dy.numbered {
                    sums.update(at: a) { $0 += Double(p.at(a) ?? 0) * (value - mean) / sample.temperature }
                }
            }
            gradients.append(sums.map { Float(sample.scaling * $0) })
            first &+= group.blocks
        }
        return gradients
    }

    /// softmax(scaling · logit) of each group.
    public func probabilities(scaling: Double) -> [[Float]] {
        logits.map { row in Self.softmax(row.map { Float(scaling) * $0 }) }
    }

    /// The largest probability of each group: how sure it is.
    public func confidence(scaling: Double) -> [Float] {
        probabilities(scaling: scaling).each.map { $0.each.max() ?? 0 }
    }

    /// The blocks to keep: the most likely candidate of each group, the first one on ties.
    public var decision: [Int] {
        var kept: [Int] = []
        var first = 0
        for (index, group) in groups.numbered {
            let candidate = group.candidates.at(Self.firstLargest(logits.at(index) ?? [])) ?? []
            for (block, keeps) in candidate.numbered where keeps { kept.append(first &+ block) }
            first &+= group.blocks
        }
        return kept
    }

    static func firstLargest(_ row: [Float]) -> Int {
        var best = 0
        for (index, value) in row.numbered where value > row.at(best) ?? -.infinity { best = index }
        return best
    }

    static func softmax(_ row: [Float]) -> [Float] {
        let most = row.each.max() ?? 0
        let weights = row.map { expf($0 - most) }
        let sum = weights.each.reduce(0, +)
        return weights.map { $0 / sum }
    }
}

import DiffAccel
import DiffCheckpoint

/// A request for pictures or sounds of prompts, split into batches.
///
/// Each of them has a seed of its own, the request's and those that follow it, so that it is the same in whatever batch it is made, and
/// can be made again alone.
enum PromptBatches {
    /// Pictures computed together, unless told otherwise: as many as have together the latents of one of 512 x 512 pixels, beyond which a
    /// batch saves no time and takes memory.
    private static func usual(_ latents: Int) -> Int { max(1, min(32, 4096 / max(1, latents))) }

    /// Requests of at most `size` pictures each (0: one request; nil: as many as is usual) that together make what `request` asks for.
    static func split(_ request: SampleRequest, size: Int?, _ facts: ModelFacts) throws(DiffError) -> [SampleRequest] {
        let count = request.samples
        guard count > 1, count <= SampleRequest.maxSamples else { return [request] }
        var whole = request
        if whole["seeds"] == nil {
            let first = request.seed
            whole["seeds"] = .array((0..<count).map { .integer((first &+ $0) & Int.max) })
            whole["seed"] = nil
        }
        let size = size ?? usual(facts.latents(of: request))
        guard size > 0, size < count, whole.seeds.count == count else { return [whole] }
        let name = facts.perPrompt ?? "images_per_prompt"
        return stride(from: 0, to: count, by: size).map { start in
            part(whole, start..<min(start + size, count), name)
        }
    }

    /// The request for samples `range`, of which the option `name` says how many neighbours have the same prompt.
    private static func part(_ whole: SampleRequest, _ range: Range<Int>, _ name: String) -> SampleRequest {
        var part = whole
        let perPrompt = max(1, whole[name]?.asInt ?? 1)
        let rows = range.map { $0 / perPrompt }
        let isOne = rows.first == rows.last
        for text in ["prompt", "prompt_2", "prompt_3"] {
            for (option, isNegative) in [(text, false), ("negative_\(text)", true)] {
                guard let texts = whole[option]?.asArray, !isNegative || texts.count > 1 else { continue }
                let chosen = (isOne ? [rows[0]] : rows).compactMap { texts.indices.contains($0) ? texts[$0] : nil }
                part[option] = .array(chosen)
            }
        }
        part[name] = .integer(isOne ? range.count : 1)
        if !isOne, whole["prompt"]?.asArray == nil, let prompt = whole["prompt"] {
            part["prompt"] = .array(rows.map { _ in prompt })
        }
        part["seeds"] = .array(range.map { .integer(whole.seeds[$0]) })
        return part
    }
}

extension SampleRequest {
    /// A seed for each picture; none where one is for all.
    var seeds: [Int] {
        switch self["seeds"] {
        case .array(let seeds)?: seeds.compactMap(\.asInt)
        default: []
        }
    }

    /// What files of the samples are called, one each: by class, or by seed.
    func names() -> [String] {
        let labels = labels
        guard labels.isEmpty else { return labels.map { "class\($0)" } }
        return (0..<samples).map { index in
            "seed\(seeds.indices.contains(index) ? seeds[index] : (seed &+ index) & Int.max)"
        }
    }
}

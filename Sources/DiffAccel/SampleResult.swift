public import DiffCheckpoint
public import DiffTensor

/// What a run made: tensors by name. Owns them; immutable.
///
/// Images: `latents` [n, C, h, w] f32, the sampler's final state; when decoded `pixels` [n, channels, H, W] f32, nominally -1 ... 1
/// (not clamped), and `images` [n, H, W, channels] u8. Sounds: `latents` likewise, when decoded `audio` [n, values] f32 in -1 ... 1, of
/// which ``SampleStatistics/sampleRate`` are a second, and `mel` [n, frames, bins] f32. Language models: `tokens` [n, length] after the prompts; `sequences`, prompts and
/// texts one after the other, with `lengths` [n] and `filled` (1 where the run wrote a token). Families add others: see
/// ``Model/forwardNames`` and the documentation of each.
public final class SampleResult: Sendable {
    /// All tensors, in the order in which they were made.
    public let tensors: [ResultTensor]
    /// What the run did and took.
    public let statistics: SampleStatistics

    init(_ tensors: [ResultTensor], _ statistics: SampleStatistics) {
        (self.tensors, self.statistics) = (tensors, statistics)
    }

    /// The tensor called `name`. Throws `invalidArgument`, naming those there are.
    @inline(never)
    public func tensor(_ name: String) throws(DiffError) -> ResultTensor {
        guard let found = named(name) else {
            let names = tensors.map(\.name).joined(separator: ", ")
            throw DiffError(.invalidArgument, "the result has no tensor \"\(name)\"; it has \(names)")
        }
        return found
    }

    /// The sampler's final state [n, C, h, w], f32; nil when the family has none.
    public var latents: Tensor? { named("latents")?.tensor }
    /// Decoded pixels; nil when not decoded.
    public var pixels: Tensor? { named("pixels")?.tensor }
    /// 8-bit images; nil when not decoded.
    public var images: ImageBatch? { named("images")?.images }
    /// Sounds [n, values], f32 in -1 ... 1; nil when not decoded.
    public var audio: Tensor? { named("audio")?.tensor }
    /// The tokens that a language model generated, one list per prompt; empty for others.
    public var tokens: [[Int]] {
        guard let found = named("tokens"), found.shape.rank == 2 else { return [] }
        let (all, length) = (found.integers, found.shape[1])
        return Indices(below: found.shape[0]).map { row in
            Indices(below: length).map { all.at(row &* length &+ $0) ?? 0 }
        }
    }

    /// What a language model made whole: prompt and text of each prompt, masks filled. Empty for others.
    public var sequences: [[Int]] { split("sequences") }
    /// For each prompt the positions of its sequence that the run filled, ascending: after the prompt and, where masks were, in it.
    public var filled: [[Int]] {
        var filled: [[Int]] = []
        for flags in split("filled").each {
            var positions: [Int] = []
            for (position, flag) in flags.numbered where flag != 0 { positions.append(position) }
            filled.append(positions)
        }
        return filled
    }

    /// The texts that a language model wrote, up to the first token that ends one; of infilling the whole texts, prompts and all. Empty for
    /// others, and without a tokenizer.
    public var texts: [String] {
        let bytes = named("text")?.bytes ?? []
        var (texts, next): ([String], Int) = ([], 0)
        for length in (named("text_lengths")?.integers ?? []).each {
            var text: [UInt8] = []
            for index in Indices(below: length) { text.append(bytes.at(next &+ index) ?? 0) }
            texts.append(String(decoding: text, as: UTF8.self))
            next &+= length
        }
        return texts
    }

    /// The integers of `name`, taken apart by the lengths of the sequences.
    private func split(_ name: String) -> [[Int]] {
        let all = named(name)?.integers ?? []
        var (parts, start): ([[Int]], Int) = ([], 0)
        for length in (named("lengths")?.integers ?? []).each {
            var part: [Int] = []
            for position in Indices(below: length) { part.append(all.at(start &+ position) ?? 0) }
            parts.append(part)
            start &+= length
        }
        return parts
    }

    private func named(_ name: String) -> ResultTensor? { tensors.each.first { $0.name == name } }
}

/// 8-bit images [count, height, width, channels].
public struct ImageBatch: Sendable {
    public let count: Int, height: Int, width: Int, channels: Int
    /// The bytes, row-major.
    public let storage: Storage

    /// Bytes of all images.
    public var byteCount: Int { count &* height &* width &* channels }

    /// Runs `body` over the bytes.
    public func withBytes<T>(_ body: (UnsafeRawBufferPointer) -> T) -> T {
        unsafe body(UnsafeRawBufferPointer(start: storage.base, count: storage.base == nil ? 0 : byteCount))
    }
}

/// What a run did and took.
public struct SampleStatistics: Sendable {
    /// One network call: of most samplers a step, of some a part of one.
    public struct Step: Sendable {
        /// Original timestep, 0 ... 999 for the published models, not always whole; the side of a scale.
        public var timestep: Double
        /// Which of the session's networks ran.
        public var network = 0
        /// Wall-clock seconds, callbacks excluded.
        public var seconds: Double
        /// Attention and MLP outputs.
        public var sites: SiteCounts
        /// Floating-point operations (a multiply-add counts as 2).
        public var flops: Double
        /// Language models: rows that the network computed, and rows that went through its head.
        public var queryRows = 0, headRows = 0
    }

    /// Every network call in the order made.
    public var steps: [Step] = []
    /// Wall-clock seconds of the whole run, of the encoders before its steps, and of the decoding after them.
    public var seconds = 0.0, encodeSeconds = 0.0, decodeSeconds = 0.0
    /// Threads of the session.
    public var threads = 1
    /// What products of matrices were computed in.
    public var precision = Precision.f32
    /// A name of ``Library/samplers``, or what else the family calls its way of sampling.
    public var sampler = ""
    /// Pictures from prompts: what each was made with, in the form that files of pictures have it (`parameters` in PNG); empty for others.
    public var parameters: [String] = []
    /// Sounds: values of a second; nil for others.
    public var sampleRate: Int?
    /// Bytes: the weights, the most held by methods, the workspace's peak, and the session's peak.
    public var weightBytes = 0, cacheBytes = 0, workspaceBytes = 0, peakBytes = 0
    /// Blocks of memory asked for after the first step (0 in a warm loop).
    public var allocationsAfterFirstStep = 0
    /// Side of the decoder's tiles in latents; nil: whole images.
    public var decoderTile: Int?
    /// This process among those that made the run; the result of rank 0 is the one that was asked for.
    public var rank = 0
    /// What each of them took, by rank; empty where there is one.
    public var ranks: [RankStatistics] = []
    /// The parts into which a method divided the work of the calls; empty where none did.
    public var components: [NetworkComponent] = []

    /// Sums over all calls.
    public var sites: SiteCounts {
        steps.reduce(into: SiteCounts()) { $0 += $1.sites }
    }
    /// Floating-point operations of all steps (a multiply-add counts as 2).
    public var flops: Double { steps.reduce(0) { $0 + $1.flops } }

    /// The statistics as JSON, in the form that the C header describes.
    public var json: JSON {
        let rows = steps.map { step in
            var members: [String: JSON] = [
                "timestep": .timestep(step.timestep), "network": .integer(step.network),
                "seconds": .number(step.seconds), "flops": .number(step.flops),
                "computed": .integer(step.sites.computed), "reused": .integer(step.sites.reused),
                "skipped": .integer(step.sites.skipped),
            ]
            if step.queryRows > 0 {
                members["query_rows"] = .integer(step.queryRows)
                members["head_rows"] = .integer(step.headRows)
            }
            return JSON.object(members)
        }
        var members: [String: JSON] = [
            "seconds": .number(seconds), "encode_seconds": .number(encodeSeconds),
            "decode_seconds": .number(decodeSeconds), "threads": .integer(threads),
            "isa": .string(Machine.instructionSet), "precision": .string(precision.rawValue),
            "sampler": .string(sampler), "steps": .array(rows),
            "parameters": .array(parameters.map { .string($0) }),
            "sample_rate": sampleRate.map { .integer($0) } ?? .null,
            "totals": .object([
                "computed": .integer(sites.computed), "reused": .integer(sites.reused),
                "skipped": .integer(sites.skipped), "flops": .number(flops),
                "allocations_after_first_step": .integer(allocationsAfterFirstStep),
            ]),
            "memory": .object([
                "weights": .integer(weightBytes), "cache": .integer(cacheBytes), "workspace": .integer(workspaceBytes),
                "peak": .integer(peakBytes),
            ]),
            "decoder_tile": decoderTile.map { .integer($0) } ?? .null,
        ]
        if !ranks.isEmpty {
            members.put(.integer(rank), for: "rank")
            members.put(.array(ranks.each.map { $0.json }), for: "ranks")
        }
        if !components.isEmpty { members.put(.array(components.each.map { $0.json }), for: "components") }
        return .object(members)
    }
}

extension JSON {
    /// A timestep: an integer where it is whole.
    static func timestep(_ value: Double) -> JSON { Checked.integer(value).map { .integer($0) } ?? .number(value) }
}

import DiffTensor

/// What turns the state that a sampler ends with into what the user asked for: one conformance for each kind of state.
protocol StateDecoder: Sendable {
    /// The name in descriptions.
    var name: String { get }
    /// Whether memory for decoding can be bounded by tiles.
    var takesTiles: Bool { get }
    /// Whether ranks that share a run share its decoding too, of which rank 0 then has the result; else only rank 0 decodes.
    var isShared: Bool { get }
    /// All samples of `state` [n, …], one after the other, so that memory does not grow with their number; `state` itself where it is that
    /// already. `tile` is the side of tiles in latents, nil: the whole. Gives a tensor, or several, as ``results(_:_:budget:)`` takes them;
    /// none on a rank that only makes pieces of them. Throws `notFinite` when a sample is not, and what `progress` throws.
    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (DecodeProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> [Tensor]
    /// The tensors of the result that `decoded`, which they may keep, become. In a dry run they have no values.
    func results(_ decoded: [Tensor], _ run: Run, budget: MemoryBudget?) throws(DiffError) -> [ResultTensor]
}

extension StateDecoder {
    /// Rank 0 alone.
    var isShared: Bool { false }
}

extension SamplingJob {
    /// The decoder of this process, which is one of `ranks`, if there are any.
    func decoder(on ranks: RankShare?) -> (any StateDecoder)? {
        guard let ranks, ranks.rank != 0, let decoder, !decoder.isShared else { return decoder }
        return nil
    }
}

/// What a decoder tells on its way.
struct DecodeProgress {
    /// What is being made.
    var stage = SampleEvent.Stage.decode
    /// How much of it is done, and how much there is: samples, of sound its single values.
    let done: Int, count: Int
    /// The stretch of sound that was finished.
    var audio: AudioStretch?
}

import DiffTensor

/// A prompt of masked decoding: its tokens, the first `padding` of which stand there only to fill up.
public struct MaskedPrompt: Sendable, Equatable {
    /// Tokens, padding included.
    public var tokens: [Int]
    /// Positions in front that no other position sees.
    public var padding: Int

    /// A prompt of `tokens`, the first `padding` of which are padding.
    public init(_ tokens: [Int], padding: Int = 0) { (self.tokens, self.padding) = (tokens, padding) }
}

/// What both decoders are told.
public struct MaskedCommon: Sendable, Equatable {
    /// The mask token.
    public var maskToken: Int
    /// Tokens to generate after each prompt; 0: only the masks in it are filled.
    public var length: Int
    /// Whether masks in the prompts are positions to fill like those after them: steps and blocks then cover all of them.
    public var infills: Bool
    /// Tokens that are never chosen: their logits count as minus infinity before everything else.
    public var forbidden: [Int]

    /// Generates `length` tokens.
    public init(maskToken: Int, length: Int, infills: Bool = false, forbidden: [Int] = []) {
        (self.maskToken, self.length, self.infills, self.forbidden) = (maskToken, length, infills, forbidden)
    }

    /// More positions than this in all sequences together are refused.
    public static let maxPositions = 1 << 20

    /// Whether blocks and steps are made for the masks in prompts too: asked for, or because there are no others.
    var fillsPrompts: Bool { infills || length == 0 }

    /// Whether a position may be revealed as the mask itself, and so stay masked.
    var allowsMask: Bool { !forbidden.contains(maskToken) }

    func check(_ prompts: [MaskedPrompt]) throws(DiffError) {
        guard !prompts.isEmpty else { throw DiffError(.invalidArgument, "no prompt") }
        guard length >= 0, length <= Self.maxPositions else {
            throw DiffError(.invalidArgument, "a length of \(length); expected 0...\(Self.maxPositions)")
        }
        var positions = 0
        for (index, prompt) in prompts.numbered {
            guard prompt.padding >= 0, prompt.padding <= prompt.tokens.count else {
                throw DiffError(
                    .invalidArgument,
                    "prompt \(index): \(prompt.padding) of \(prompt.tokens.count) positions are padding")
            }
            positions = Checked.sum(positions, prompt.tokens.count, length)
            guard length > 0 || masks(prompt) > 0 else {
                throw DiffError(
                    .invalidArgument,
                    "prompt \(index): a length of 0, and no mask token (\(maskToken)) in the prompt: nothing to fill")
            }
        }
        guard positions <= Self.maxPositions else {
            throw DiffError(
                .invalidArgument, "prompts and texts of \(positions) tokens; at most \(Self.maxPositions) in one batch")
        }
    }

    /// Masked positions of the sequence that begins with `prompt`.
    func masks(_ prompt: MaskedPrompt) -> Int {
        Checked.sum(prompt.tokens.each.reduce(0) { $0 &+ ($1 == maskToken ? 1 : 0) }, length)
    }

    /// The positions that blocks are made of: those after the prompt, and under infilling (or where `always`) the masks in it too.
    private func targets(_ prompt: MaskedPrompt, always: Bool) -> [Int] {
        let start = prompt.tokens.count
        var positions: [Int] = []
        for (position, token) in prompt.tokens.numbered where (fillsPrompts || always) && token == maskToken {
            positions.append(position)
        }
        for position in Indices(below: length) { positions.append(start &+ position) }
        return positions
    }

    /// Blocks of `size` positions to fill each, from left to right, the last perhaps smaller; a block reaches from its first position to
    /// its last. `always`: masks in prompts count even where infilling was not asked for.
    func blocks(_ prompt: MaskedPrompt, of size: Int?, always: Bool = false) -> [Range<Int>] {
        let positions = targets(prompt, always: always)
        var (blocks, start): ([Range<Int>], Int) = ([], 0)
        while let first = positions.at(start) {
            let end = min(positions.count, Checked.sum(start, max(1, size ?? positions.count)))
            let stop = (positions.at(end &- 1) ?? first) &+ 1
            if first < stop { blocks.append(first..<stop) }
            start = end
        }
        return blocks
    }

    /// Throws unless `steps` passes can be divided evenly over the blocks of every prompt.
    func check(steps: Int, _ prompts: [MaskedPrompt], of size: Int?, always: Bool = false) throws(DiffError) {
        guard steps > 0, steps <= Self.maxPositions else {
            throw DiffError(.invalidArgument, "\(steps) steps; expected 1...\(Self.maxPositions)")
        }
        for (index, prompt) in prompts.numbered {
            let count = blocks(prompt, of: size, always: always).count
            guard steps % max(1, count) == 0 else {
                throw DiffError(
                    .invalidArgument, "prompt \(index): \(steps) steps cannot be divided over \(count) blocks")
            }
        }
    }
}

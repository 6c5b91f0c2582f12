import DiffTensor

/// One sequence under masked decoding: its tokens, where it stands, and the rule of its family.
///
/// Sequences are independent: each goes through its own blocks and steps, and a pass serves all that are not done. So a batch equals
/// its sequences run singly, whatever their lengths.
protocol DecodingRow {
    var sequence: DecodingSequence { get set }
    /// Whether nothing is left to do.
    var isDone: Bool { get }
    /// What the methods are told before the pass. `fixedOrder`: a block's order is decided when it begins.
    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound
    /// Positions whose tokens this step decides, ascending, when `queries` are computed; draws what decides that beforehand.
    mutating func candidates(_ queries: PositionSet, _ noise: inout DecodingNoise) throws(DiffError) -> [Int]
    /// The position whose results decide the token at `position`.
    func source(of position: Int) -> Int
    /// Positions that noise is drawn for in this pass, ascending: the candidates, and where the published code draws for more, those too.
    func drawn(_ candidates: [Int], _ queries: PositionSet) -> [Int]
    /// Reveals tokens: `choice` has one entry per candidate. `queries` as before.
    mutating func reveal(
        _ candidates: [Int], _ queries: PositionSet, _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError)
}

/// A token and how sure the rule is of it.
struct ChosenToken {
    let token: Int
    let confidence: Double
}

/// The tokens of one sequence, prompt and generated part, of fixed length.
struct DecodingSequence {
    /// Tokens of all positions.
    private(set) var tokens: [Int]
    /// Positions in front that are padding.
    let padding: Int
    /// Positions that hold a token of the caller, fixed at the start (`prompt_index` of the published code): guidance hides these, and never
    /// what was filled in.
    let given: PositionSet
    /// The mask token.
    let mask: Int
    /// Passes made.
    private(set) var step = 0
    /// Positions written by the last step, in the order of revelation.
    private(set) var revealed: [Int] = []
    /// Confidences that the last step compared, by position; minus infinity where a position took no part. Empty: none were compared.
    private(set) var confidences: [Double] = []

    init(_ prompt: MaskedPrompt, _ common: MaskedCommon) {
        let tokens = prompt.tokens + Array(repeating: common.maskToken, count: max(0, common.length))
        (padding, mask) = (prompt.padding, common.maskToken)
        given = PositionSet(of: tokens.count) { tokens.at($0) != common.maskToken }
        self.tokens = tokens
    }

    var count: Int { tokens.count }
    /// The masked positions.
    var masked: PositionSet { PositionSet(of: count) { isMasked($0) } }
    func isMasked(_ position: Int) -> Bool { tokens.at(position) == mask }

    /// How many positions of `range` are masked.
    func maskCount(in range: Range<Int>) -> Int {
        var count = 0
        for (position, token) in tokens.numbered where range.contains(position) && token == mask { count &+= 1 }
        return count
    }

    /// Closes a step that writes `writes`.
    mutating func finish(_ writes: [(position: Int, token: Int)], confidences: [Double]) {
        for write in writes.each { tokens.put(write.token, at: write.position) }
        revealed = writes.map(\.position)
        self.confidences = confidences
        step &+= 1
    }

    /// Confidences by position out of those of the candidates.
    func spread(_ candidates: [Int], _ values: [Double]) -> [Double] {
        var all = [Double](repeating: -.infinity, count: count)
        for (index, position) in candidates.numbered { all.put(values.at(index) ?? -.infinity, at: position) }
        return all
    }
}

/// The `count` largest of `values` as indices, the lowest of equals first; in falling order. Minus infinity takes part last.
///
/// torch.topk leaves the order of equals unspecified. The lowest position first is part of how models behave: confidences that round to
/// the same number then give an order from left to right.
func largest(_ count: Int, of values: [Double]) -> [Int] {
    let order = values.numbered.map { (value: $0.element, index: $0.offset) }.sorted {
        $0.value != $1.value ? $0.value > $1.value : $0.index < $1.index
    }
    var indices: [Int] = []
    for entry in order.each {
        guard indices.count < count else { break }
        indices.append(entry.index)
    }
    return indices
}

import DiffTensor

/// One sample under masked decoding: its canvas, where it stands, and the rule of its family.
///
/// Samples are independent: each goes through its own blocks and steps, and a pass serves all that are not done. So a batch equals
/// its samples run singly, whatever their lengths.
protocol DecodingRow {
    var canvas: DecodingCanvas { get set }
    /// Whether nothing is left to do.
    var isDone: Bool { get }
    /// What the methods are told before the pass. `fixedOrder`: a block's order is decided when it begins.
    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound
    /// Places whose tokens this step decides, ascending, when `fed` is fed; draws what decides that beforehand.
    mutating func candidates(_ fed: [Bool], _ noise: inout DecodingNoise) throws(DiffError) -> [Int]
    /// The place whose results decide the token of `place`.
    func source(of place: Int) -> Int
    /// Places that noise is drawn for in this pass, ascending: the candidates, and where the published code draws for more, those too.
    func drawn(_ candidates: [Int], _ fed: [Bool]) -> [Int]
    /// Reveals tokens: `choice` has one entry per candidate. `fed` as before.
    mutating func reveal(
        _ candidates: [Int], _ fed: [Bool], _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError)
}

/// A token and how sure the rule is of it.
struct ChosenToken {
    let token: Int
    let confidence: Double
}

/// The places of one sample.
struct DecodingCanvas {
    /// Tokens of all places.
    private(set) var tokens: [Int]
    /// Places in front that are padding.
    let padding: Int
    /// Per place, whether it holds a token of the caller: guidance hides these, and never what was filled in.
    let isGiven: [Bool]
    /// The mask token.
    let mask: Int
    /// Passes made.
    private(set) var step = 0
    /// Places written by the last step, in the order of revelation.
    private(set) var revealed: [Int] = []
    /// Confidences that the last step compared, by place; minus infinity where a place took no part. Empty: none were compared.
    private(set) var confidences: [Double] = []

    init(_ prompt: MaskedPrompt, _ common: MaskedCommon) {
        tokens = prompt.tokens + Array(repeating: common.maskToken, count: max(0, common.length))
        (padding, mask) = (prompt.padding, common.maskToken)
        isGiven = tokens.each.map { $0 != common.maskToken }
    }

    var count: Int { tokens.count }
    var isMasked: [Bool] { tokens.each.map { $0 == mask } }
    func isMasked(_ place: Int) -> Bool { tokens.at(place) == mask }

    /// How many places of `range` are masked.
    func masked(in range: Range<Int>) -> Int {
        var count = 0
        for (place, token) in tokens.numbered where range.contains(place) && token == mask { count &+= 1 }
        return count
    }

    /// The masked places of `range`, ascending.
    func masked(_ range: Range<Int>) -> [Int] {
        tokens.numbered.filter { range.contains($0.offset) && $0.element == mask }.map(\.offset)
    }

    /// Closes a step that writes `writes`.
    mutating func finish(_ writes: [(place: Int, token: Int)], confidences: [Double]) {
        for write in writes.each where tokens.indices.contains(write.place) { tokens[write.place] = write.token }
        revealed = writes.map(\.place)
        self.confidences = confidences
        step &+= 1
    }

    /// Confidences by place out of those of the candidates.
    func spread(_ candidates: [Int], _ values: [Double]) -> [Double] {
        var all = [Double](repeating: -.infinity, count: count)
        for (index, place) in candidates.numbered where all.indices.contains(place) {
            all[place] = values.at(index) ?? -.infinity
        }
        return all
    }
}

/// The `count` largest of `values` as positions, the lowest of equals first; in falling order. Minus infinity takes part last.
func largest(_ count: Int, of values: [Double]) -> [Int] {
    let order = values.numbered.map { (value: $0.element, position: $0.offset) }.sorted {
        $0.value != $1.value ? $0.value > $1.value : $0.position < $1.position
    }
    var positions: [Int] = []
    for entry in order.each {
        guard positions.count < count else { break }
        positions.append(entry.position)
    }
    return positions
}

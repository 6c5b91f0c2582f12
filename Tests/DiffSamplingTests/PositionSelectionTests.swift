import DiffSampling
import DiffTensor
import TestSupport
import Testing

/// Leaves out one position, where it asks to be heard; or answers for a sequence of another length.
private final class Without: PositionSelection {
    let position: Int
    let isHeard: Bool, fixesOrder: Bool
    var answersAnother = false

    init(_ position: Int, isHeard: Bool = true, fixesOrder: Bool = false) {
        (self.position, self.isHeard, self.fixesOrder) = (position, isHeard, fixesOrder)
    }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.extensions = isHeard
        return hooks
    }

    func selectQueries(_ round: UnmaskingRound, _ queries: inout PositionSet) throws(DiffError) {
        queries.keep { $0 != position }
        if answersAnother { queries = PositionSet(all: round.masked.length + 1) }
    }
}

/// A method without an answer to masked decoding's question.
private final class Deaf: Acceleration {
    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        hooks.extensions = true
        return hooks
    }
}

/// What masked decoding asks of methods, and tells a network: a prompt of two tokens, three to generate, token 1 being the mask.
@Suite struct PositionSelectionTests {
    private let common = MaskedCommon(maskToken: 1, length: 3)

    /// The passes of a decoding whose network always prefers token 3.
    private func passes(
        _ methods: [any Acceleration], _ options: LLaDAOptions, padding: Int = 0
    ) throws -> (passes: [MaskedPass], tokens: [[Int]]) {
        let decoding = try MaskedDecoding([MaskedPrompt([2, 0], padding: padding)], options)
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack(methods))
        try run.begin(SamplingContext(layouts: [], calls: decoding.passes, rows: 1))
        var passes: [MaskedPass] = []
        let network = MaskedNetwork(
            vocabulary: 4,
            states: { (pass, run) throws(DiffError) in
                passes.append(pass)
                return try Tensor(Array(repeating: 0, count: 2 * pass.wantedRows), Shape(1, pass.wantedRows, 2))
            },
            logits: { (states, run) throws(DiffError) in
                let rows = states.shape.rows
                return try Tensor((0..<rows).flatMap { _ in [0, 0, 0, 1] as [Float] }, Shape(1, rows, 4))
            })
        let tokens = try decoding.sample(network, noise: DecodingNoise(seed: 0), run) { (_) throws(DiffError) in }
        return (passes, tokens)
    }

    private func queries(_ methods: [any Acceleration]) throws -> [[Int]] {
        try passes(methods, LLaDAOptions(common)).passes.map { $0.queries[0].positions }
    }

    @Test func withoutMethodsAllIsComputed() throws {
        let (passes, tokens) = try passes([], LLaDAOptions(common))
        #expect(passes.map { $0.queries[0].positions } == Array(repeating: [0, 1, 2, 3, 4], count: 3))
        #expect(passes.map { $0.wanted[0].positions } == [[2, 3, 4], [3, 4], [4]])
        #expect(passes.map(\.sequences) == [[[2, 0, 1, 1, 1]], [[2, 0, 3, 1, 1]], [[2, 0, 3, 3, 1]]])
        #expect(tokens == [[2, 0, 3, 3, 3]])
    }

    /// Methods are asked one after the other; one that did not ask for it, or has no answer, is not.
    @Test func methodsLeaveOutWhatTheySay() throws {
        let methods: [any Acceleration] = [Without(0), Deaf(), Without(3, isHeard: false), Without(1)]
        #expect(try queries(methods) == Array(repeating: [2, 3, 4], count: 3))
    }

    @Test func positionsOfAnotherSequenceAreRefused() {
        let method = Without(0)
        method.answersAnother = true
        #expect(throws: DiffError.self) { _ = try queries([method]) }
    }

    /// An order that follows confidences cannot be fixed when the block begins.
    @Test func aFixedOrderIsAskedForOnce() throws {
        #expect(throws: DiffError.self) { _ = try queries([Without(0, fixesOrder: true)]) }
        #expect(try queries([Without(0, isHeard: false, fixesOrder: true)]).count == 3)
        var options = LLaDAOptions(common)
        options.remasking = .random
        let wanted = try passes([Without(0, fixesOrder: true)], options).passes.map { $0.wanted[0].positions }
        #expect(wanted.allSatisfy { $0.count == 1 } && Set(wanted.joined()) == [2, 3, 4])
    }

    /// Unconditional rows: the same positions of the sequence with the prompt masked. Padding is never computed.
    @Test func guidanceAddsUnconditionalRows() throws {
        var options = LLaDAOptions(common)
        options.guidance = 1
        let (passes, tokens) = try passes([], options, padding: 1)
        #expect(passes[0].sequences == [[2, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
        #expect(passes[1].sequences == [[2, 0, 3, 1, 1], [1, 1, 3, 1, 1]])
        #expect(passes.allSatisfy { $0.queries.map(\.positions) == [[1, 2, 3, 4], [1, 2, 3, 4]] })
        #expect(passes.allSatisfy { $0.wanted[0] == $0.wanted[1] && $0.wantedRows == 2 * $0.wanted[0].count })
        #expect(tokens == [[2, 0, 3, 3, 3]])
    }
}

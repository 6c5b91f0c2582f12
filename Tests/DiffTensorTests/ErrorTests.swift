import DiffTensor
import Testing

@Suite struct ErrorTests {
    @Test func controlCharactersAreEscaped() {
        let error = DiffError(.format, "a\u{0}b\u{1b}[31mc\u{7f}\u{9b}\td\r\ne")
        #expect(error.message == "a\\u{0}b\\u{1b}[31mc\\u{7f}\\u{9b}\\u{9}d\\u{d}\ne")
    }

    @Test func plainTextInAnyScriptStaysAsItIs() {
        for text in ["β ≥ 0", "日本語", "🙂", "tensor \"x\"\nsecond line", ""] {
            #expect(DiffError(.io, text).message == text)
        }
    }

    @Test(arguments: ["x", "é", "日", "🙂", "\u{1}"])
    func longTextsAreCutAtACharacter(_ unit: String) {
        let message = DiffError(.io, String(repeating: unit, count: 5000)).message
        #expect(message.utf8.count <= DiffError.maxMessageBytes && message.hasSuffix("..."))
        #expect(message.utf8.count > DiffError.maxMessageBytes - 12)
    }

    @Test func aTextOfExactlyTheBoundIsCutAtMost() {
        for count in (DiffError.maxMessageBytes - 5)...(DiffError.maxMessageBytes + 5) {
            let message = DiffError(.io, String(repeating: "x", count: count)).message
            #expect(message.utf8.count <= DiffError.maxMessageBytes)
        }
    }

    @Test func placesStandInFront() {
        #expect(DiffError(.shape, "wrong").at("blocks.0").message == "blocks.0: wrong")
        do {
            try locating("outer") { () throws(DiffError) in
                try locating("inner") { () throws(DiffError) in throw DiffError(.io, "gone") }
            }
        } catch { #expect(error == DiffError(.io, "outer: inner: gone")) }
    }

    @Test func placesCannotMakeATextEndless() {
        var error = DiffError(.io, "start")
        for _ in 0..<300 { error = error.at(String(repeating: "p", count: 50)) }
        #expect(error.message.utf8.count <= DiffError.maxMessageBytes)
    }

    @Test func statusNumbersAreThoseOfTheCHeader() {
        #expect(DiffError.Code.allCases.map(\.rawValue) == [1, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12])
    }
}

@Suite struct CancelFlagTests {
    @Test func aRequestStandsUntilCleared() {
        let flag = CancelFlag()
        #expect(!flag.isSet)
        flag.cancel()
        #expect(flag.isSet && flag.isSet)
        flag.clear()
        #expect(!flag.isSet)
    }

    @Test func aSecondSourceCounts() throws {
        let flag = CancelFlag()
        let other = CancelFlag()
        flag.follow(CancelFlag.Source(isSet: { other.isSet }, clear: { other.clear() }))
        other.cancel()
        #expect(flag.isSet)
        #expect { try Run(pool: nil, budget: nil, cancel: flag).checkCancel() } throws: {
            ($0 as? DiffError) == .cancelled
        }
        flag.clear()
        #expect(!flag.isSet && !other.isSet)
    }

    @Test func poolsHaveOneTo256Threads() throws {
        #expect(try WorkerPool(threads: 3).threads == 3)
        for threads in [0, -1, 257, .max] {
            #expect { try WorkerPool(threads: threads) } throws: { ($0 as? DiffError)?.code == .invalidArgument }
        }
    }
}

import DiffCheckpoint
import Testing

@testable import DiffModels

@Suite struct CLIPMergesTests {
    @Test func isThePublishedVocabulary() {
        let tokens = CLIPMerges.tokens
        #expect(tokens.count == 49408 && Set(tokens).count == 49408)
        // "a photo of a cat" is 320 1125 539 320 2368 in every published tokenizer.
        #expect([320, 1125, 539, 2368].map { tokens[$0] } == ["a</w>", "photo</w>", "of</w>", "cat</w>"])
        #expect(tokens[0] == "!" && tokens[255] == "\u{143}" && tokens[256] == "!</w>" && tokens[512] == "in")
        #expect(tokens[49406] == "<|startoftext|>" && tokens[49407] == "<|endoftext|>")
    }

    @Test func mergesAndVocabularyAgree() {
        let lines = CLIPMerges.lines
        #expect(lines.count == 48894 && lines[0] == "i n" && lines[1] == "t h")
        guard case .object(let ids) = CLIPMerges.vocabulary else {
            Issue.record("no vocabulary")
            return
        }
        #expect(ids.count == 49408)
        for (index, line) in lines.enumerated() {
            let parts = line.split(separator: " ")
            #expect(parts.count == 2)
            if ids[parts.joined()] != .integer(512 + index) {
                Issue.record("\(line)")
                break
            }
        }
    }
}

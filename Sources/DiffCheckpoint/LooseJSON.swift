import DiffTensor

/// What other programs write into JSON files against the standard, as far as it has one meaning, and what is wrong with the rest.
enum LooseJSON {
    /// `text` behind a mark of UTF-8.
    static func body(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard unsafe ForeignFormat.has([0xef, 0xbb, 0xbf], in: text), let start = text.baseAddress, text.count >= 3
        else { return unsafe text }
        return unsafe UnsafeRawBufferPointer(start: start + 3, count: text.count &- 3)
    }

    /// Whether a text that begins with `start` is in UTF-16 or UTF-32: it has their mark, or a sign and a zero in turn.
    static func isWide(_ start: UnsafeRawBufferPointer) -> Bool {
        if unsafe ForeignFormat.has([0xff, 0xfe], in: start) || ForeignFormat.has([0xfe, 0xff], in: start) {
            return true
        }
        guard start.count >= 4 else { return false }
        let zeros = unsafe (start[0] == 0, start[1] == 0, start[2] == 0, start[3] == 0)
        return zeros == (false, true, false, true) || zeros == (true, false, true, false)
            || zeros == (true, true, true, false) || zeros == (false, true, true, true)
    }

    // MARK: Numbers

    /// Begins a string that stands for a number. No text in which it could be meant otherwise is rewritten.
    private static let mark = UInt8(0x7f)

    /// `text` with every NaN, Infinity and -Infinity, as Python and JavaScript write them, as a string of the same length that
    /// ``number(_:)`` knows, and integers beyond 64 bits as numbers. Nil when there are none.
    static func rewritten(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard unsafe !text.contains(mark) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var source = unsafe text.makeIterator()
        while let byte = unsafe source.next() { bytes.append(byte) }
        var changed = false
        var words = unsafe JSONWords(text)
        while let word = words.next() {
            let length = word.end &- word.start
            if unsafe isWord(nan, text, word) {
                mark(&bytes, word, filler: 0x78)
            } else if unsafe isWord(infinity, text, word) {
                mark(&bytes, word, filler: 0x2b)
            } else if unsafe isWord(minusInfinity, text, word) {
                mark(&bytes, word, filler: 0x2d)
            } else if length < 19 || !(unsafe shorten(&bytes, text, word)) {
                continue
            }
            changed = true
        }
        // An escape would read as the mark.
        guard changed, unsafe !hasEscapedMark(text) else { return nil }
        return bytes
    }

    /// The number that a string of ``rewritten(_:)`` stands for.
    static func number(_ string: String) -> Double? {
        guard string.utf8.first == mark else { return nil }
        return switch string.utf8.count {
        case 1: .nan
        case 6: .infinity
        default: -.infinity
        }
    }

    private static func mark(_ bytes: inout [UInt8], _ word: JSONWords.Word, filler: UInt8) {
        for index in Indices(below: word.end &- word.start) {
            let isEnd = index == 0 || word.start &+ index == word.end &- 1
            bytes.put(isEnd ? UInt8(ascii: "\"") : index == 1 ? mark : filler, at: word.start &+ index)
        }
    }

    /// Writes the integer at `word` in hundreds, as a number, if it does not fit 64 bits: a double holds fewer digits anyway.
    private static func shorten(
        _ bytes: inout [UInt8], _ text: UnsafeRawBufferPointer, _ word: JSONWords.Word
    ) -> Bool {
        let isNegative = unsafe text[word.start] == UInt8(ascii: "-")
        // Counted downwards, where there is one number more.
        var value: Int? = 0
        for position in Indices(below: word.end) where position >= (isNegative ? word.start &+ 1 : word.start) {
            let digit = unsafe Int(text[position]) &- 0x30
            guard (0...9).contains(digit) else { return false }
            value = value.flatMap { Checked.multiply($0, 10) }.flatMap { Checked.subtract($0, digit) }
        }
        if let value, isNegative || value != .min { return false }
        bytes.put(UInt8(ascii: "e"), at: word.end &- 2)
        bytes.put(UInt8(ascii: "2"), at: word.end &- 1)
        return true
    }

    private static func hasEscapedMark(_ text: UnsafeRawBufferPointer) -> Bool {
        var (a, b, c): (UInt8, UInt8, UInt8) = (0, 0, 0)
        var bytes = unsafe text.makeIterator()
        while let byte = unsafe bytes.next() {
            // \u007f, whatever the letter's case.
            if a == UInt8(ascii: "0"), b == UInt8(ascii: "0"), c == UInt8(ascii: "7"), byte | 0x20 == UInt8(ascii: "f")
            {
                return true
            }
            (a, b, c) = (b, c, byte)
        }
        return false
    }

    private static let (nan, infinity, minusInfinity) = (
        Array("NaN".utf8), Array("Infinity".utf8), Array("-Infinity".utf8)
    )

    private static func isWord(_ letters: [UInt8], _ text: UnsafeRawBufferPointer, _ word: JSONWords.Word) -> Bool {
        guard word.end &- word.start == letters.count else { return false }
        return unsafe ForeignFormat.has(letters, at: word.start, in: text)
    }

    // MARK: Faults

    /// What the first fault of `text` is, when it is one that editors and other languages make, with its line and column. Only what
    /// stands before byte `end`, where reading stopped, is at fault.
    static func fault(_ text: UnsafeRawBufferPointer, before end: Int) -> String? {
        var words = unsafe JSONWords(text)
        while let word = words.next(), word.start < end {
            let what: String
            switch unsafe text[word.start] {
            case UInt8(ascii: "/"), UInt8(ascii: "#"): what = "a comment, which JSON does not have: take it out"
            case UInt8(ascii: "'"): what = "a single quote: JSON's strings stand in double quotes"
            case UInt8(ascii: "]") where words.isBehindComma, UInt8(ascii: "}") where words.isBehindComma:
                what = "a comma before a closing bracket: take it out"
            case UInt8(ascii: "T"), UInt8(ascii: "F"), UInt8(ascii: "N"):
                guard let pair = unsafe pythonWord(text, word) else { continue }
                what = "Python's \(pair.python): JSON says \(pair.json)"
            default: continue
            }
            return unsafe "bad JSON at \(place(word.start, text)): \(what)"
        }
        return nil
    }

    private static let pythonWords = [
        (letters: Array("True".utf8), python: "True", json: "true"),
        (letters: Array("False".utf8), python: "False", json: "false"),
        (letters: Array("None".utf8), python: "None", json: "null"),
    ]

    private static func pythonWord(
        _ text: UnsafeRawBufferPointer, _ word: JSONWords.Word
    ) -> (python: String, json: String)? {
        for pair in pythonWords.each where unsafe isWord(pair.letters, text, word) { return (pair.python, pair.json) }
        return nil
    }

    private static func place(_ position: Int, _ text: UnsafeRawBufferPointer) -> String {
        var (line, column) = (1, 1)
        for index in Indices(below: min(position, text.count)) {
            let byte = unsafe text[index]
            if byte == 0x0a {
                (line, column) = (line &+ 1, 1)
            } else if byte & 0xc0 != 0x80 {
                column &+= 1  // a character's first byte
            }
        }
        return "line \(line), column \(column)"
    }
}

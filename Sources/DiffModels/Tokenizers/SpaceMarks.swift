import DiffCheckpoint
import DiffTensor

/// How a text is cut into words for pieces that show where words begin: spaces become a visible mark, `▁`, and each word has one in
/// front (`WhitespaceSplit` and `Metaspace` of tokenizer files).
struct SpaceMarks: Sendable {
    /// Which words get a mark that the text has not.
    enum Prefix: String, Sendable, CaseIterable {
        case always, first, never
    }

    /// A word of a marked text.
    struct Word {
        let range: Range<Int>
        /// Whether a mark stands before it that is not in the text.
        let isPrefixed: Bool
    }

    /// Whether white space of any kind separates words, and is dropped.
    var dropsWhiteSpace = false
    /// What spaces become; nil: they stay, and nothing is marked.
    var mark: UInt32?
    var prefix = Prefix.always
    /// Whether a mark begins a new word.
    var splits = true

    /// Layout of T5's files.
    static let t5 = SpaceMarks(dropsWhiteSpace: true, mark: 0x2581)

    /// Reads the `pre_tokenizer` of a tokenizer file; nil: a text is one word. Throws `unsupported` for kinds that are not known here.
    static func reading(_ json: JSONObject?) throws(DiffError) -> SpaceMarks {
        var marks = SpaceMarks()
        guard let json else { return marks }
        if try json.string("type") == "Sequence" {
            let parts = try json.objects("pretokenizers")
            guard parts.count <= 8 else { throw json.error("pretokenizers", "too many stages") }
            for part in parts.each { try marks.read(part) }
        } else {
            try marks.read(json)
        }
        return marks
    }

    private mutating func read(_ json: JSONObject) throws(DiffError) {
        switch try json.string("type") {
        case "WhitespaceSplit" where mark == nil: dropsWhiteSpace = true
        case "Metaspace" where mark == nil:
            let text = try json.string("replacement", default: "\u{2581}").unicodeScalars
            guard let scalar = text.first, text.count == 1 else {
                throw json.error("replacement", "expected one character")
            }
            mark = scalar.value
            (prefix, splits) = (try Self.prefix(json), try json.bool("split", default: true))
        case let other:
            throw DiffError(
                .unsupported,
                "\(json.place): a pre-tokenizer of type \"\(other)\" for pieces; known: WhitespaceSplit, then Metaspace, "
                    + "once each")
        }
    }

    /// `prepend_scheme`, or what older files have in its place.
    static func prefix(_ json: JSONObject) throws(DiffError) -> Prefix {
        if let name = try json.optionalString("prepend_scheme", oneOf: Prefix.allCases.map(\.rawValue)) {
            return Prefix(rawValue: name) ?? .always
        }
        return try json.bool("add_prefix_space", default: true) ? .always : .never
    }

    /// `text` with marks for its spaces, scalar for scalar.
    func marked(_ text: ArraySlice<UInt32>) -> [UInt32] {
        guard let mark else { return Array(text) }
        return text.map { $0 == 32 ? mark : $0 }
    }

    /// The words of a text in order. `isStart` says whether the whole text begins at a position, which matters to ``Prefix/first``.
    func words(of text: ArraySlice<UInt32>, isStart: (Int) -> Bool) -> [Word] {
        var words: [Word] = []
        var open: Int?
        func close(_ end: Int) {
            if let start = open { append(text, start..<end, isStart, to: &words) }
            open = nil
        }
        for index in text.indices {
            if dropsWhiteSpace, ScalarSet.whitespace.contains(text[index]) {
                close(index)
            } else if open == nil {
                open = index
            }
        }
        close(text.endIndex)
        return words
    }

    /// Appends a stretch without separators, cut before its marks.
    private func append(
        _ text: ArraySlice<UInt32>, _ range: Range<Int>, _ isStart: (Int) -> Bool, to words: inout [Word]
    ) {
        func isMark(_ index: Int) -> Bool { text[index] == mark || mark != nil && text[index] == 32 }
        var isPrefixed =
            mark != nil && !isMark(range.lowerBound)
            && (prefix == .always || prefix == .first && isStart(range.lowerBound))
        var start = range.lowerBound
        for index in range where splits && index > start && isMark(index) {
            words.append(Word(range: start..<index, isPrefixed: isPrefixed))
            (start, isPrefixed) = (index, false)
        }
        words.append(Word(range: start..<range.upperBound, isPrefixed: isPrefixed))
    }
}

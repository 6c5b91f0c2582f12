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
            for (number, part) in parts.numbered {
                guard number < 8 else { throw json.error("pretokenizers", "too many stages") }
                try marks.read(part)
            }
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

    /// A word of `text` with marks for its spaces, and with the one before it that the text has not.
    func written(_ word: Word, in text: TextStretch) -> [UInt32] {
        let part = text.part(word.range)
        guard let mark else { return part.scalars }
        var written: [UInt32] = []
        written.reserveCapacity(part.count &+ 1)
        if word.isPrefixed { written.append(mark) }
        for scalar in part { written.append(scalar == 32 ? mark : scalar) }
        return written
    }

    /// The words of a text in order. `isStart` says whether the whole text begins at a position, which matters to ``Prefix/first``.
    func words(of text: TextStretch, isStart: (Int) -> Bool) -> [Word] {
        var words: [Word] = []
        var open: Int?
        func close(_ end: Int) {
            if let start = open { append(text.part(.ordered(start, end)), isStart, to: &words) }
            open = nil
        }
        var place = text.start
        for scalar in text {
            if dropsWhiteSpace, ScalarSet.whitespace.contains(scalar) {
                close(place)
            } else if open == nil {
                open = place
            }
            place &+= 1
        }
        close(text.end)
        return words
    }

    /// Appends a stretch without separators, cut before its marks.
    private func append(
        _ text: TextStretch, _ isStart: (Int) -> Bool, to words: inout [Word]
    ) {
        func isMark(_ scalar: UInt32?) -> Bool { scalar == mark || mark != nil && scalar == 32 }
        var isPrefixed =
            mark != nil && !isMark(text.at(text.start))
            && (prefix == .always || prefix == .first && isStart(text.start))
        var (start, place) = (text.start, text.start)
        for scalar in text {
            if splits, place > start, isMark(scalar) {
                words.append(Word(range: .ordered(start, place), isPrefixed: isPrefixed))
                (start, isPrefixed) = (place, false)
            }
            place &+= 1
        }
        words.append(Word(range: .ordered(start, text.end), isPrefixed: isPrefixed))
    }
}

import DiffTensor

/// A text where the contents of a file were expected: pointers of version control, pages and messages of servers.
struct TextPlaceholder {
    /// What it is.
    let name: String
    /// What to do about it.
    let remedy: String

    private static let lfs = "fetch the file itself: git lfs pull in the repository, or download it again"
    private static let annex = "fetch the file itself: git annex get in the repository"
    private static let page = "a server's page (signed in? the right address?): download the file itself"
    static let json = "a JSON text"
    private static let message = "a server's message, or another file: download the file itself"

    /// How such texts begin, in lower case.
    private static let known: [(start: String, name: String, remedy: String)] = [
        ("version https://git-lfs.github.com/", "a git-lfs pointer", lfs),
        ("version https://hawser.github.com/", "a git-lfs pointer", lfs),
        ("# xet version", "a Xet pointer", "fetch the file itself: git pull with git-xet, or download it again"),
        ("/annex/objects/", "a git-annex pointer", annex), ("<!doctype html", "an HTML page", page),
        ("<html", "an HTML page", page), ("<head", "an HTML page", page), ("<error", "an XML message", message),
        ("<?xml", "an XML text", message), ("{", json, message), ("[", json, message),
    ]

    /// What a file that begins with `prefix` is; nil when it is no text.
    init?(_ prefix: UnsafeRawBufferPointer) {
        guard unsafe !prefix.isEmpty, unsafe Self.isText(prefix) else { return nil }
        let start = unsafe Self.textStart(prefix)
        for text in Self.known.each where unsafe Self.begins(prefix, at: start, text.start) {
            (name, remedy) = (text.name, text.remedy)
            return
        }
        // Such as a server's "Entry not found".
        var line: [UInt8] = []
        for position in Indices(below: min(prefix.count, start &+ 60)) where position >= start {
            let byte = unsafe prefix[position]
            if byte == 0x0a || byte == 0x0d { break }
            line.append(byte)
        }
        (name, remedy) = ("a text (\"\(String(decoding: line, as: UTF8.self))\")", Self.message)
    }

    /// Behind a mark of UTF-8 and white space.
    private static func textStart(_ prefix: UnsafeRawBufferPointer) -> Int {
        var position = unsafe ForeignFormat.has([0xef, 0xbb, 0xbf], in: prefix) ? 3 : 0
        while position < prefix.count, unsafe isSpace(prefix[position]) { position &+= 1 }
        return position
    }

    /// Whether `word` stands at `start`, in letters of either case.
    private static func begins(_ prefix: UnsafeRawBufferPointer, at start: Int, _ word: String) -> Bool {
        for (position, byte) in Array(word.utf8).numbered {
            let index = start &+ position  // both below a kilobyte
            guard index < prefix.count else { return false }
            let found = unsafe prefix[index]
            let lower = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(found) ? found | 0x20 : found
            guard lower == byte else { return false }
        }
        return true
    }

    /// No control characters but white space and the escape of a terminal's colours, and no byte that UTF-8 does not have.
    private static func isText(_ prefix: UnsafeRawBufferPointer) -> Bool {
        unsafe prefix.allSatisfy { $0 >= 0x20 && $0 != 0x7f && $0 < 0xf5 || isSpace($0) || $0 == 0x1b }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }
}

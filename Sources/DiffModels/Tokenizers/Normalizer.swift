import DiffCheckpoint
import DiffTensor
@_spi(_Unicode) import Swift

/// What a tokenizer does to a text before it is cut: nothing, or composing characters (NFC).
enum Normalizer: Sendable {
    case none, nfc

    /// Reads the `normalizer` of a tokenizer file. Throws `unsupported` for others.
    init(_ json: JSONObject?) throws(DiffError) {
        guard let json else {
            self = .none
            return
        }
        switch try json.string("type") {
        case "NFC": self = .nfc
        case "Sequence":
            var found = Normalizer.none
            for part in try json.objects("normalizers").each {
                guard try part.string("type") == "NFC" else {
                    throw DiffError(.unsupported, "\(part.place): only NFC is supported")
                }
                found = .nfc
            }
            self = found
        case let other: throw DiffError(.unsupported, "\(json.place): a normalizer of type \"\(other)\"")
        }
    }

    /// A normalised text: its scalars, and for each the range of the original scalars that it comes from.
    struct Text {
        var scalars: [UInt32]
        /// Nil: each scalar comes from the one at the same place.
        var origins: [Range<Int>]?
    }

    /// `text` normalised. Compositions never reach across characters, so unchanged ones keep their places.
    func apply(_ text: ArraySlice<UInt32>) -> Text {
        // Below U+0300 nothing composes and nothing decomposes.
        guard case .nfc = self, text.contains(where: { $0 >= 0x300 }) else {
            return Text(scalars: Array(text), origins: nil)
        }
        var string = String.UnicodeScalarView()
        for value in text { if let scalar = Unicode.Scalar(value) { string.append(scalar) } }
        var out = Text(scalars: [], origins: [])
        var place = 0
        for character in String(string) {
            let before = character.unicodeScalars.map(\.value)
            let after = String(character)._nfc.map(\.value)
            if before == after {
                for (offset, value) in before.numbered {
                    out.scalars.append(value)
                    out.origins?.append((place &+ offset)..<(place &+ offset &+ 1))
                }
            } else {
                for value in after.each {
                    out.scalars.append(value)
                    out.origins?.append(place..<(place &+ before.count))
                }
            }
            place &+= before.count
        }
        return out
    }
}

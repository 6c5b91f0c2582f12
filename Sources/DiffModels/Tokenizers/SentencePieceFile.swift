import DiffCheckpoint
import DiffTensor

/// A `spiece.model`: pieces with scores, and how texts are changed before they are cut. Source: `sentencepiece_model.proto`.
struct SentencePieceFile {
    /// What a piece is for.
    enum Kind: Int {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    struct Piece {
        var text = "", score = 0.0, kind = Kind.normal
    }

    private(set) var pieces: [Piece] = []
    private(set) var unknown = 0
    private(set) var fallsBackToBytes = false
    /// The compiled table of the normalizer; empty: characters stay as they are.
    private(set) var characterMap: [UInt8] = []
    private let place: String

    /// Reads a file. Throws `format`, and `unsupported` for kinds of models and settings that texts here are not cut by.
    init(_ file: [UInt8], place: String) throws(DiffError) {
        self.place = place
        var reader = ProtobufReader(file, place: place)
        while let (field, value) = try reader.next() {
            guard case .bytes(let range) = value else { continue }
            switch field {
            case 1:
                guard pieces.count < UnigramModel.maxPieces else {
                    throw DiffError(.format, "\(place): more than \(UnigramModel.maxPieces) pieces")
                }
                pieces.append(try piece(ProtobufReader(file, range, place: place)))
            case 2: try readTrainer(ProtobufReader(file, range, place: place))
            case 3: try readNormalizer(ProtobufReader(file, range, place: place))
            default: break
            }
        }
        guard !pieces.isEmpty else {
            throw DiffError(.format, "\(place): no pieces: not a SentencePiece model, or an empty one; fetch it again")
        }
    }

    private func piece(_ message: ProtobufReader) throws(DiffError) -> Piece {
        var (reader, piece) = (message, Piece())
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let range)):
                let text = reader.bytes(range)
                guard let text = unsafe text.withUnsafeBytes({ unsafe String(validating: $0, as: UTF8.self) }) else {
                    throw DiffError(.format, "\(place): piece \(pieces.count) is not UTF-8")
                }
                piece.text = text
            case (2, .word(let bits)): piece.score = Double(Float(bitPattern: bits))
            case (3, .integer(let number)):
                guard let kind = Int(exactly: number).flatMap(Kind.init(rawValue:)) else {
                    throw DiffError(.format, "\(place): piece \(pieces.count) is of the unknown kind \(number)")
                }
                piece.kind = kind
            default: break
            }
        }
        return piece
    }

    private mutating func readTrainer(_ message: ProtobufReader) throws(DiffError) {
        var reader = message
        while let (field, value) = try reader.next() {
            guard case .integer(let number) = value else { continue }
            switch field {
            case 3 where number != 1:
                throw DiffError(
                    .unsupported,
                    "\(place): model_type \(number): only the unigram kind (1) is read; take a tokenizer.json in its place"
                )
            case 24 where number != 0: throw unsupported("treat_whitespace_as_suffix", "true")
            case 35: fallsBackToBytes = number != 0
            case 40:
                guard let id = Int(exactly: number) else {
                    throw DiffError(.format, "\(place): no unknown token: unk_id is negative")
                }
                unknown = id
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ message: ProtobufReader) throws(DiffError) {
        var reader = message
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (2, .bytes(let range)): characterMap = reader.bytes(range)
            case (3, .integer(0)): throw unsupported("add_dummy_prefix", "false")
            case (4, .integer(0)): throw unsupported("remove_extra_whitespaces", "false")
            case (5, .integer(0)): throw unsupported("escape_whitespaces", "false")
            default: break
            }
        }
    }

    private func unsupported(_ setting: String, _ value: String) -> DiffError {
        DiffError(
            .unsupported,
            "\(place): \(setting) is \(value), which T5's models are not made with and this reader does not do: take a tokenizer.json in "
                + "its place")
    }
}

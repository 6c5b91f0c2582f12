import DiffAccel
import DiffCheckpoint

/// What a model's description says of its convolutions, as lines of text.
struct ConvolutionRows {
    private struct Row {
        let name: String, form: String, reason: String?, output: String
    }

    private let rows: [Row]

    /// `json` is the member `convolutions`; nil: the model has none.
    init(_ json: JSON?) {
        rows = (json?["layers"]?.asArray ?? []).map { layer in
            let extents = (layer["output"]?.asArray ?? []).map { $0.asInt.map { String($0) } ?? "?" }
            return Row(
                name: layer["name"]?.asText ?? "", form: layer["form"]?.asText ?? "",
                reason: layer["because"]?.asText, output: extents.joined(separator: " x "))
        }
    }

    var isEmpty: Bool { rows.isEmpty }

    /// How many there are of each form, and why some are direct: `60 F(4,3), 12 direct (10 kernel, 2 stride)`.
    var summary: String {
        Self.tally(rows.map(\.form)).map { form, count in
            let reasons = Self.tally(rows.filter { $0.form == form }.compactMap(\.reason))
            let text = reasons.map { "\($0.count) \($0.word)" }.joined(separator: ", ")
            return "\(count) \(form)" + (text.isEmpty ? "" : " (\(text))")
        }.joined(separator: ", ")
    }

    /// A line for each.
    func print() {
        guard !rows.isEmpty else { return }
        StandardOutput.say("\nCONVOLUTIONS:")
        Facts.print(
            rows.map { row in
                ("  " + row.name, row.form + (row.reason.map { " (\($0))" } ?? "") + ", " + row.output)
            })
    }

    /// Every word with its number, the most frequent first.
    private static func tally(_ words: [String]) -> [(word: String, count: Int)] {
        let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
        return counts.map { (word: $0.key, count: $0.value) }.sorted { ($1.count, $0.word) < ($0.count, $1.word) }
    }
}

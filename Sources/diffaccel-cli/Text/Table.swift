/// Rows of text in aligned columns: the first one to the left, the others to the right.
struct Table {
    private var rows: [[String]]

    /// A table under these headings.
    init(_ headings: String...) { rows = [headings] }

    /// Adds a row.
    mutating func add(_ cells: String...) { rows.append(cells) }

    /// Prints the table on standard output.
    func print() {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        for row in rows {
            let cells = row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + padding : padding + cell
            }
            StandardOutput.say(cells.joined(separator: "  "))
        }
    }
}

/// Names and values, one pair a line.
enum Facts {
    /// Prints the pairs on standard output, values aligned.
    static func print(_ pairs: [(String, String)]) {
        let width = pairs.map(\.0.count).max() ?? 0
        for (name, value) in pairs {
            StandardOutput.say(name + String(repeating: " ", count: width - name.count + 2) + value)
        }
    }
}

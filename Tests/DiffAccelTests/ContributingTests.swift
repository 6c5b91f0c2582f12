import Foundation
import Testing

/// CONTRIBUTING.md and the article on methods quote files that are compiled: their lines are those of the files.
@Suite struct ContributingTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static let pages = ["CONTRIBUTING.md", "Sources/DiffAccel/Documentation.docc/WriteAMethod.md"]

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// Blocks of code with the file that the comment before them names: `<!-- quotes PATH -->`.
    private static func quotes(_ page: String) throws -> [(path: String, lines: [String])] {
        var quotes: [(path: String, lines: [String])] = []
        var (path, isOpen) = (nil as String?, false)
        for line in try text(page).components(separatedBy: "\n") {
            if line.hasPrefix("<!-- quotes ") {
                path = String(line.dropFirst("<!-- quotes ".count).dropLast(" -->".count))
            } else if line.hasPrefix("```") {
                isOpen.toggle()
                if let path, isOpen { quotes.append((path, [])) } else { path = nil }
            } else if isOpen, path != nil {
                quotes[quotes.count - 1].lines.append(line)
            }
        }
        return quotes
    }

    /// Without indentation, which a quotation may take off.
    private static func trimmed(_ lines: [String]) -> [String] {
        lines.map { $0.trimmingCharacters(in: .whitespaces) }
    }

    @Test(arguments: pages) func quotedLinesAreInTheirFiles(_ page: String) throws {
        let quotes = try Self.quotes(page)
        #expect(quotes.count >= 4)
        for (path, lines) in quotes {
            let file = Self.trimmed(try Self.text(path).components(separatedBy: "\n"))
            // "…" stands for lines left out.
            for part in Self.trimmed(lines).split(separator: "…", omittingEmptySubsequences: true).map(Array.init) {
                let isThere = file.indices.contains { file[$0...].starts(with: part) }
                #expect(isThere, "not in \(path):\n\(part.joined(separator: "\n"))")
            }
        }
    }

    @Test(arguments: pages) func filesThatItNamesExist(_ page: String) throws {
        let spans = try Self.text(page).components(separatedBy: "`")
        let paths = spans.enumerated().filter { $0.offset % 2 == 1 }.map(\.element).filter { span in
            let top = span.split(separator: "/").first.map(String.init) ?? ""
            return ["Sources", "Tests", "Tools", "bindings", "include"].contains(top) && span.contains("/")
                && !span.contains(where: { $0.isWhitespace || "*<".contains($0) })
        }
        #expect(!paths.isEmpty)
        for path in paths {
            #expect(FileManager.default.fileExists(atPath: Self.root.appendingPathComponent(path).path), "\(path)")
        }
    }
}

import Foundation
import Testing

/// CONTRIBUTING.md quotes files that are compiled: its lines are theirs.
@Suite struct ContributingTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// Blocks of code with the file that the comment before them names: `<!-- quotes PATH -->`.
    private static func quotes() throws -> [(path: String, lines: [String])] {
        var quotes: [(path: String, lines: [String])] = []
        var (path, isOpen) = (nil as String?, false)
        for line in try text("CONTRIBUTING.md").components(separatedBy: "\n") {
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

    @Test func quotedLinesAreInTheirFiles() throws {
        let quotes = try Self.quotes()
        #expect(quotes.count >= 6)
        for (path, lines) in quotes {
            let file = Self.trimmed(try Self.text(path).components(separatedBy: "\n"))
            // "…" stands for lines left out.
            for part in Self.trimmed(lines).split(separator: "…", omittingEmptySubsequences: true).map(Array.init) {
                let isThere = file.indices.contains { file[$0...].starts(with: part) }
                #expect(isThere, "not in \(path):\n\(part.joined(separator: "\n"))")
            }
        }
    }

    @Test func filesThatItNamesExist() throws {
        let spans = try Self.text("CONTRIBUTING.md").components(separatedBy: "`")
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

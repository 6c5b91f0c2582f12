import Foundation
import Testing

/// The sets in Tests/Golden: what a plain clone is checked against.
@Suite struct GoldenSelectionTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Golden")

    private static func contents(_ folder: URL) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: [.fileSizeKey])
            .filter { !$0.lastPathComponent.hasPrefix(".") }
    }

    @Test func everyKindIsThere() throws {
        let kinds = try Self.contents(Self.folder).map { GoldenCheck.named($0.lastPathComponent)?.prefix }
        #expect(!kinds.contains(nil), "a set that no check covers")
        for check in GoldenCheck.all where !check.prefix.hasAnyPrefix(Self.generated) {
            #expect(kinds.contains(check.prefix), "no set of the kind \(check.prefix)")
        }
    }

    /// Kinds whose networks are compared with their reference by other tests too: numbers of diffusers and transformers in
    /// `bindings/python/tests/data`, or the libraries themselves where they are installed. For sets of them there is no room in a clone.
    private static let generated = [
        "asyncdiff-", "audioldm", "mar", "sd-clip", "sd-e2e", "sd-sampling", "sd-tokenizer", "sd-unet", "sd3-e2e",
        "sdxl-e2e",
        "text-",
    ]

    @Test func theyAreSmallAndExplained() throws {
        var bytes = 0
        for set in try Self.contents(Self.folder) {
            let files = try Self.contents(set)
            #expect(files.contains { $0.lastPathComponent == "NOTES.md" }, "\(set.lastPathComponent)")
            for file in files { bytes += try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0 }
        }
        #expect(bytes <= 8 << 20, "\(bytes) bytes; a clone is to stay small")
    }
}

extension String {
    fileprivate func hasAnyPrefix(_ prefixes: [String]) -> Bool { prefixes.contains { hasPrefix($0) } }
}

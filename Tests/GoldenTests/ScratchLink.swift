import Foundation

/// A folder of links to all files of another but one, removed when the object goes.
final class ScratchLink {
    let path: String

    init(of folder: String, without left: String) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("diffaccel-test-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name != left {
            try FileManager.default.createSymbolicLink(
                atPath: "\(path)/\(name)", withDestinationPath: "\(folder)/\(name)")
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

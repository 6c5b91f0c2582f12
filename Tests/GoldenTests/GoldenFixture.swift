import DiffCheckpoint
import DiffTensor
import Foundation

/// A directory of recorded inputs and outputs of a published implementation: `config.json`, `io.safetensors`, weights.
///
/// Fixtures of one family may differ in every size and option; nothing about them is known here but the names of keys.
struct GoldenFixture {
    let name: String
    let path: String
    let config: JSONObject
    let io: TensorTable

    init(path: String) throws(DiffError) {
        self.path = path
        name = (path as NSString).lastPathComponent
        config = try JSONObject(JSON(contentsOf: "\(path)/config.json"), source: "\(name)/config.json")
        let recorded = "\(path)/io.safetensors"
        // Fixtures of tokenizers have texts and numbers in JSON only.
        io = try Directory.isAbsent(recorded) ? TensorTable(emptyAt: path) : TensorTable(FileBytes(path: recorded))
    }

    /// The weights and what the config says about them.
    func checkpoint() throws(DiffError) -> Checkpoint { try Checkpoint.open(path: path) }

    func has(_ key: String) -> Bool { io.has(key) }
    func floats(_ key: String) throws(DiffError) -> [Float] { try io.floats(key) }
    func doubles(_ key: String) throws(DiffError) -> [Double] { try io.doubles(key) }
    func integers(_ key: String) throws(DiffError) -> [Int] { try io.integers(key) }

    func shape(_ key: String) throws(DiffError) -> Shape {
        guard let entry = io.info(key) else { throw DiffError(.format, "\(name): no key \(key)") }
        return entry.shape
    }

    /// The key as an f32 tensor.
    func tensor(_ key: String) throws(DiffError) -> Tensor { try Tensor(floats(key), shape(key)) }
    /// Integers (such as timesteps) as an f32 tensor.
    func times(_ key: String) throws(DiffError) -> Tensor { try Tensor(integers(key).map(Float.init), shape(key)) }

    /// Keys that begin with `prefix`, in order.
    func keys(_ prefix: String) -> [String] { io.names.filter { $0.hasPrefix(prefix) } }
}

/// Where fixtures are looked for, and which of them are run.
enum GoldenRoots {
    static var environment: [String: String] { ProcessInfo.processInfo.environment }

    /// `$DIFFACCEL_GOLDEN`, or the package's own selection and, when it is there, the full set beside the package.
    static var roots: [String] {
        if let given = environment["DIFFACCEL_GOLDEN"], !given.isEmpty { return [given] }
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let package = tests.deletingLastPathComponent()
        return [
            tests.appendingPathComponent("Golden").path,
            package.deletingLastPathComponent().appendingPathComponent("shared/golden").path,
        ]
    }

    /// Directories by name; a later root replaces a name of an earlier one.
    static var directories: [(name: String, path: String)] {
        var found: [String: String] = [:]
        for root in roots {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
            for name in names where !name.hasPrefix(".") {
                var isDirectory: ObjCBool = false
                let path = "\(root)/\(name)"
                if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
                    found[name] = path
                }
            }
        }
        let only = (environment["DIFFACCEL_GOLDEN_ONLY"] ?? "").split(separator: ",").map(String.init)
        return found.sorted { $0.key < $1.key }
            .filter { entry in only.isEmpty || only.contains { entry.key.hasPrefix($0) } }
            .map { (name: $0.key, path: $0.value) }
    }

    /// Whether each comparison is printed: `DIFFACCEL_GOLDEN_VERBOSE=1`.
    static var isVerbose: Bool { environment["DIFFACCEL_GOLDEN_VERBOSE"] == "1" }
    static var isStrict: Bool { environment["DIFFACCEL_GOLDEN_STRICT"] == "1" }
}

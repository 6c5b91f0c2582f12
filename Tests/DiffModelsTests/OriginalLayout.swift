import DiffCheckpoint
import DiffTensor
import Foundation
import TestSupport

/// A single file whose elements count through it, and what diffusers' converters make of it.
struct OriginalLayout {
    struct Expected {
        let part, name: String
        /// The source and how the tensor is made of it; nil: ones on the diagonal.
        let source: String?
        let form: String
    }

    private(set) var kind = ""
    private(set) var scheduler: [String: JSON] = [:]
    private(set) var configs: [String: JSON] = [:]
    private(set) var tensors: [Expected] = []
    private(set) var ignored: [String] = []
    let table: TensorTable
    private var shapes: [String: Shape] = [:]
    private var starts: [String: Int] = [:]
    private let directory = try! ScratchDirectory()

    /// The fixture `name`. Elements are multiples of `scale`, stored as `type`.
    init(
        _ name: String, scale: Float = 1, type: DType = .f32,
        changing change: (inout [String: Tensor]) throws -> Void = { _ in }
    ) throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/OriginalLayouts/\(name).txt"
        var (sources, count, elements) = ([String](), 0, [String: Tensor]())
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            let rest = words.dropFirst().joined(separator: " ")
            switch words[0] {
            case "kind": kind = rest
            case "scheduler":
                if case .object(let members) = try JSON(parsing: rest, source: name) { scheduler = members }
            case "source":
                let shape = try Shape(words[2].split(separator: ",").map { Int($0)! })
                sources.append(words[1])
                (shapes[words[1]], starts[words[1]]) = (shape, count)
                let values = (0..<shape.count).map { Float(count + $0) * scale }
                elements[words[1]] = try Tensor(values, shape).narrowed(to: type, budget: nil)
                count += shape.count
            case "config":
                configs[words[1]] = try JSON(parsing: words.dropFirst(2).joined(separator: " "), source: name)
            case "stripped":
                let prefix = words.count > 2 ? words[2] : ""
                for source in sources where source.hasPrefix(prefix) && !Self.isTraining(source) {
                    let stripped = String(source.dropFirst(prefix.count))
                    tensors.append(Expected(part: words[1], name: stripped, source: source, form: ""))
                }
            case "identity":
                tensors.append(Expected(part: words[1], name: words[2], source: nil, form: words[3]))
            case "ignored": ignored.append(rest)
            default:
                let form = words.dropFirst(3).joined(separator: " ")
                tensors.append(Expected(part: words[0], name: words[1], source: sources[Int(words[2])!], form: form))
            }
        }
        try change(&elements)
        try directory.write(elements, as: "file.safetensors")
        table = try TensorTable(FileBytes(path: "\(directory.path)/file.safetensors"))
    }

    private static func isTraining(_ name: String) -> Bool { name.hasPrefix("loss.") || name.hasPrefix("model_ema.") }

    /// The elements that `tensor` should have (at scale 1, in f32).
    func values(_ tensor: Expected) throws -> [Float] {
        guard let source = tensor.source, let shape = shapes[source], let start = starts[source] else {
            let side = Int(tensor.form)!
            return (0..<side * side).map { $0 % (side + 1) == 0 ? 1 : 0 }
        }
        let whole = (0..<shape.count).map { Float(start + $0) }
        let words = tensor.form.split(separator: " ")
        switch words.first {
        case "rows":
            let (third, index) = (whole.count / 3, Int(words[1])!)
            return Array(whole[(third * index)..<(third * (index + 1))])
        case "swapped": return Array(whole[(whole.count / 2)...] + whole[..<(whole.count / 2)])
        case "transposed":
            let (rows, columns) = (shape[0], shape[1])
            return (0..<whole.count).map { whole[$0 % rows * columns + $0 / rows] }
        default: return whole
        }
    }
}

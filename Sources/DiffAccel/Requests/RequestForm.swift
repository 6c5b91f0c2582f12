public import DiffCheckpoint
import DiffTensor

/// A tensor that requests to a model may bring.
public struct TensorSpec: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The element type.
    public let element: NamedTensor.Element
    /// Its axes in words, such as `[n, 4, 32, 32]`.
    public let shape: String
    /// What it is, in a sentence.
    public let summary: String

    @inline(never)
    init(_ name: String, _ element: NamedTensor.Element, _ shape: String, _ summary: String) {
        (self.name, self.element, self.shape, self.summary) = (name, element, shape, summary)
    }

    /// How many axes it has.
    var axes: Int { shape.pieces(at: ",").count }

    /// `name`, `dtype`, `shape`, `description`.
    public var json: JSON {
        .object([
            "name": .string(name), "dtype": .string(element.rawValue), "shape": .string(shape),
            "description": .string(summary),
        ])
    }
}

/// The options and tensors that requests to a model may have: each is declared once, and what checks it, reads it, explains it and
/// documents it is made of that.
public struct RequestForm: Sendable, Equatable {
    /// What requests are called in errors.
    static let source = "request"

    /// The options in the order in which people read them.
    public let options: [OptionSpec]
    /// The tensors.
    public let tensors: [TensorSpec]

    /// `{"options": [...], "tensors": [...]}`: from which a host can build a form.
    public var json: JSON {
        .object(["options": .array(options.map(\.json)), "tensors": .array(tensors.map(\.json))])
    }
}

extension Model {
    /// What requests to this model may say. Throws `unsupported` when the family cannot sample.
    public var requestForm: RequestForm {
        get throws(DiffError) {
            guard let sampling = family.sampling else {
                throw DiffError(.unsupported, "\(familyName) models cannot sample by themselves; use forward")
            }
            return sampling.form
        }
    }
}

/// A request whose names, types and ranges were checked against its form.
struct RequestReader {
    /// The options.
    let options: Options
    private let tensors: [String: NamedTensor]

    /// Throws `invalidArgument` for what the form does not know and for values out of range, `shape` for another element type.
    init(_ request: SampleRequest, _ form: RequestForm) throws(DiffError) {
        var members = request.options
        var tensors: [String: NamedTensor] = [:]
        for name in request.tensors.keys.sorted(by: JSON.precedes).each {
            guard let tensor = request.tensors[name] else { continue }
            guard members[name] ?? .null == .null else {
                throw DiffError(
                    .invalidArgument,
                    "\(RequestForm.source): \"\(name.prefix(60))\" is given as an option and as a tensor")
            }
            if let spec = form.tensors.each.first(where: { $0.name == name && $0.element == tensor.element }) {
                // One of other axes would be read as another request than was meant.
                if case .integers(_, let shape) = tensor, shape.rank != spec.axes {
                    throw DiffError(
                        .shape, "\(RequestForm.source): the tensor \"\(name)\" is i64 \(spec.shape), found \(shape)")
                }
                tensors.put(tensor, for: spec.name)
            } else if case .bytes(let bytes) = tensor, let option = form.options.each.first(where: { $0.name == name }),
                option.type.takesText
            {
                members.put(.string(try Self.text(bytes, name)), for: name)
            } else {
                throw Self.unknown(name, tensor, form)
            }
        }
        self.tensors = tensors
        var table: [OptionSpec] = []
        for option in form.options.each { table.append(option.replaced(by: tensors[option.name])) }
        options = try Options(
            JSONObject(.object(members), source: RequestForm.source), table, code: .invalidArgument)
    }

    private static func text(_ bytes: [UInt8], _ name: String) throws(DiffError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DiffError(.invalidArgument, "\(RequestForm.source): \(name): the bytes are no valid UTF-8")
        }
        return text
    }

    private static func unknown(_ name: String, _ tensor: NamedTensor, _ form: RequestForm) -> DiffError {
        if let spec = form.tensors.each.first(where: { $0.name == name }) {
            return DiffError(
                .shape,
                "\(RequestForm.source): the tensor \"\(name)\" is \(spec.element.rawValue) \(spec.shape), found \(tensor.element.rawValue)"
            )
        }
        let names = form.tensors.map(\.name)
        if form.options.contains(where: { $0.name == name }) {
            return DiffError(.invalidArgument, "\(RequestForm.source): \"\(name)\" is an option, no tensor")
        }
        let hint = Spelling.suggestion(for: name, among: names)
        return DiffError(
            .invalidArgument,
            "\(RequestForm.source): no tensor \"\(name.prefix(60))\""
                + (hint.isEmpty ? "; there are \(names.joined(separator: ", "))" : hint))
    }

    /// The floats called `name`; nil: not given.
    func floats(_ name: String) -> Tensor? {
        if case .floats(let tensor)? = tensors[name] { tensor } else { nil }
    }

    /// The same, of this shape; a caller may join axes or leave out those of extent 1. Throws `shape`.
    func floats(_ name: String, _ shape: Shape) throws(DiffError) -> Tensor? {
        guard let tensor = floats(name) else { return nil }
        // As many axes are these axes: height and width change places easily.
        let isOther = tensor.shape.rank == shape.rank && tensor.shape != shape
        guard tensor.shape.count == shape.count, !isOther else {
            throw DiffError(
                .shape, "\(RequestForm.source): the tensor \"\(name)\" is \(tensor.shape), expected \(shape)")
        }
        return try tensor.reshaped(shape)
    }

    /// The integers called `name`, with their shape; nil: not given.
    func integers(_ name: String) -> (values: [Int], shape: Shape)? {
        if case .integers(let values, let shape)? = tensors[name] { (values, shape) } else { nil }
    }
}

extension OptionSpec {
    /// The same; no longer required where a tensor of its name is given.
    fileprivate func replaced(by tensor: NamedTensor?) -> OptionSpec {
        tensor == nil ? self : OptionSpec(name, type, absent: "the tensor", summary)
    }
}

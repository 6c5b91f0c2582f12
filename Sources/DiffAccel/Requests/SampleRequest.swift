public import DiffCheckpoint
public import DiffTensor

/// One sampling request, of any family: options are JSON, bulk data are named tensors.
///
/// Which options and tensors a model takes, with types, ranges and defaults, is in ``Model/requestForm``, and checked when the request is
/// used. What is not given is as the model has it.
///
/// ```swift
/// var request = SampleRequest(["labels": [3, "sneaker"], "steps": 20])
/// request["guidance"] = 1.5
/// ```
public struct SampleRequest: Sendable, Equatable {
    /// The most samples of one request.
    public static let maxSamples = 4096
    /// The most steps of one run.
    public static let maxSteps = 1000

    /// Options by name.
    public var options: [String: JSON]
    /// Tensors by name. A text option may also be a tensor of bytes.
    public var tensors: [String: NamedTensor]

    /// A request of these options and tensors.
    public init(_ options: [String: JSON] = [:], tensors: [String: NamedTensor] = [:]) {
        (self.options, self.tensors) = (options, tensors)
    }

    /// A request whose options are the members of `json`. Throws `format` when it is not an object.
    public init(_ json: JSON, tensors: [String: NamedTensor] = [:]) throws(DiffError) {
        self.init(try JSONObject(json, source: RequestForm.source).members, tensors: tensors)
    }

    /// The option called `name`; nil: not given.
    public subscript(name: String) -> JSON? {
        get { options[name] }
        set { options[name] = newValue }
    }

    /// The same for a plain value: `request["steps"] = steps`. What is of another type reads as nil.
    public subscript<Value: OptionValue>(name: String) -> Value? {
        get { options[name].flatMap { Value(option: $0) } }
        set { options[name] = newValue?.json }
    }
}

/// A tensor of the caller's, in one of the element types that requests take.
public enum NamedTensor: Sendable, Equatable {
    /// f32
    case floats(Tensor)
    /// i64
    case integers([Int], Shape)
    /// u8: text in UTF-8
    case bytes([UInt8])

    /// A vector of integers.
    public static func integers(_ values: [Int]) throws(DiffError) -> NamedTensor {
        .integers(values, try Shape(values.count))
    }

    /// Element types by the names of the documentation.
    public enum Element: String, Sendable {
        case f32, i64, u8
    }

    /// The element type.
    public var element: Element {
        switch self {
        case .floats: .f32
        case .integers: .i64
        case .bytes: .u8
        }
    }

    /// Whether both are the same block of the same shape, or hold the same integers or bytes.
    public static func == (a: NamedTensor, b: NamedTensor) -> Bool {
        switch (a, b) {
        case (.floats(let x), .floats(let y)):
            x.storage === y.storage && x.offset == y.offset && x.shape == y.shape
        case (.integers(let x, let shape), .integers(let y, let other)): x == y && shape == other
        case (.bytes(let x), .bytes(let y)): x == y
        default: false
        }
    }
}

/// What decides on the shapes, the memory and the decisions of a run: of two requests with the same shape one dry run tells all.
struct RequestShape: Equatable {
    private let options: [String: JSON]
    private let tensors: [String: NamedTensor]
    private let shapes: [String: Shape]

    init(_ request: SampleRequest) {
        var (options, tensors, shapes) = (request.options, request.tensors, [String: Shape]())
        // Random numbers decide on values alone, and so does which class a sample has.
        options.drop("seed")
        if case .array(let seeds)? = options["seeds"] { options.put(.integer(seeds.count), for: "seeds") }
        if case .array(let labels)? = options["labels"] { options.put(.integer(labels.count), for: "labels") }
        for name in Array(request.tensors.keys).each {
            guard case .floats(let tensor)? = request.tensors[name] else { continue }
            shapes.put(tensor.shape, for: name)
            tensors.drop(name)
        }
        (self.options, self.tensors, self.shapes) = (options, tensors, shapes)
    }
}

import DiffCheckpoint
import DiffModels
import DiffTensor

/// A checkpoint as a family sees it while it is opened.
struct Opened {
    let checkpoint: Checkpoint
    /// The family that it belongs to.
    let family: any ModelFamily.Type
    /// Architecture keys: the config's `model` object when it has one, else the config itself.
    let architecture: JSONObject
    /// The whole config.
    let config: JSONObject
    /// `model_index.json` of the pipeline that the checkpoint is a part of; nil when it is none.
    let pipeline: JSONObject?
    /// The checkpoint taken apart, when it is a single file of Stable Diffusion; nil: it is none.
    var singleFile: StableDiffusionFile?
    /// `scheduler_config.json` of the pipeline that the checkpoint is a part of, or beside its config; nil when there is none.
    let scheduler: JSONObject?
    /// What is read of all configs.
    let ledger: ConfigLedger
    let options: ModelOptions
    let budget: MemoryBudget
    /// Threads to load with.
    let pool: WorkerPool

    /// The network's tensors, to be loaded under the options.
    var weights: Weights {
        var loading = loading
        loading.part = options.networkPart
        return Weights(checkpoint.tensors, options: loading)
    }
    /// How tensors of this checkpoint and its parts are loaded.
    var loading: Weights.Options {
        var loading = Weights.Options(budget: budget, type: options.weights, pool: pool)
        (loading.convolution, loading.precision) = (options.settings.convolution, options.precision)
        return loading
    }

    /// The autoencoder that the options name, or the one in the checkpoint's `vae` folder; nil when there is neither.
    func autoencoder() throws(DiffError) -> Checkpoint? {
        if let path = options.decoder { return try Checkpoint.open(path: path, followingLinks: options.followLinks) }
        return try checkpoint.hasSubdirectory("vae") ? try checkpoint.subdirectory("vae") : nil
    }

    /// `object`, the contents of `file`, entered in the ledger. Throws `unsupported` when `rules` refuse it.
    func entered(_ object: JSONObject, as file: String, _ rules: ConfigRules) throws(DiffError) -> JSONObject {
        try ledger.entered(object, as: file, rules)
    }
}

/// What the surfaces need of a family of models: one conformance per family.
protocol ModelFamily: Sendable {
    /// The name in `config.json` and in options.
    static var name: String { get }
    /// Whether a config without a `family` belongs to this one.
    static func recognises(_ config: JSONObject) -> Bool
    /// What is known of settings in its config that nothing is computed with.
    static var rules: ConfigRules { get }

    /// Whether it is a pipeline of several parts, recognised by its `model_index.json`.
    static var isPipeline: Bool { get }

    /// Whether the option `mask_token` means something to it.
    static var takesMaskToken: Bool { get }

    init(_ opened: Opened) throws(DiffError)

    /// The sites of its networks, the one that plans act on first.
    var layouts: [SiteLayout] { get }
    /// Elements of the weights of all parts; nil: those of the checkpoint's tensors.
    var parameters: Int? { get }
    /// What `describe` tells beyond the common part.
    var description: [String: JSON] { get }
    /// Names of the inputs and outputs of ``forward(_:wanted:_:)``.
    static var forwardNames: (inputs: [String], outputs: [String]) { get }
    /// One raw evaluation of the network, without methods.
    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor]
    /// One evaluation at a usual size, of a model whose requests need more than that: what descriptions learn by a dry run.
    func evaluate(dry run: Run) throws(DiffError)
    /// A sampler for the family; nil when it cannot sample by itself.
    var sampling: (any FamilySampling)? { get }
    /// Names of the classes it samples; empty when it has none.
    var classes: ClassNames { get }
    /// Which network object holds its weights: a model may be its own partner, and then they count once.
    var networkIdentity: ObjectIdentifier { get }
    /// What it brings to one that generates scale by scale; nil: it can take no turns with such a one.
    var nextScale: NextScaleSampling? { get }
    /// Names of published ways to run the same weights, of which ``ModelOptions/conventions`` chooses; empty: there is one way.
    static var conventions: [String] { get }
}

extension ModelFamily {
    /// A model that one part makes.
    static var isPipeline: Bool { false }
    /// Nothing that descriptions would tell.
    func evaluate(dry run: Run) throws(DiffError) {}
    /// It is a part of something that samples.
    var sampling: (any FamilySampling)? { nil }
    /// Those of the checkpoint's tensors.
    var parameters: Int? { nil }
    /// Only to language models.
    static var takesMaskToken: Bool { false }
    /// None.
    var classes: ClassNames { ClassNames() }
    /// Nothing.
    var nextScale: NextScaleSampling? { nil }
    /// One way.
    static var conventions: [String] { [] }
}

/// Inputs of a raw forward by name.
public struct NamedInputs: Sendable {
    /// f32 tensors.
    public var tensors: [String: Tensor] = [:]
    /// Integer vectors, such as labels.
    public var integers: [String: [Int]] = [:]
    /// Extents of integers that are more than a vector, slowest first.
    public var extents: [String: [Int]] = [:]

    /// No inputs.
    public init() {}

    /// The extents of each; of integers their count.
    var sizes: [String: [Int]] {
        var sizes: [String: [Int]] = [:]
        for name in names.each { sizes.put(tensors[name]?.shape.dims ?? [integers[name]?.count ?? 0], for: name) }
        return sizes
    }

    func tensor(_ name: String) throws(DiffError) -> Tensor {
        guard let tensor = tensors[name] else {
            throw DiffError(.invalidArgument, "the input \"\(name)\" (f32) is missing")
        }
        return tensor
    }

    func integers(_ name: String) throws(DiffError) -> [Int] {
        guard let values = integers[name] else {
            throw DiffError(.invalidArgument, "the input \"\(name)\" (i64) is missing")
        }
        return values
    }

    /// Integers of extents [rows, length] as rows; a vector is one row.
    func integerRows(_ name: String) throws(DiffError) -> [[Int]] {
        let values = try integers(name)
        let dims = extents[name] ?? [values.count]
        guard dims.count <= 2, let length = dims.last, length > 0, let rows = Checked.divide(values.count, length),
            rows &* length == values.count, dims.count < 2 || dims.first == rows
        else {
            throw DiffError(.shape, "the input \"\(name)\" must be a vector or a matrix of integers, found \(dims)")
        }
        return Self.rows(values, rows, length)
    }

    /// The same as flags, true for what is not 0; nil: not given.
    func mask(_ name: String) throws(DiffError) -> [[Bool]]? {
        guard integers[name] != nil else { return nil }
        var rows: [[Bool]] = []
        for row in try integerRows(name).each { rows.append(row.each.map { $0 != 0 }) }
        return rows
    }

    @inline(never)
    private static func rows(_ values: [Int], _ count: Int, _ length: Int) -> [[Int]] {
        var rows: [[Int]] = []
        for row in Indices(below: count) {
            var part: [Int] = []
            for column in Indices(below: length) { part.append(values.at(row &* length &+ column) ?? 0) }
            rows.append(part)
        }
        return rows
    }

    var names: [String] { (Array(tensors.keys) + Array(integers.keys)).sorted() }
}

/// The families the library knows. A new one is added here and nowhere else.
enum Families {
    static let all: [any ModelFamily.Type] = [
        DiTFamily.self, UViTFamily.self, SiTFamily.self, UNetFamily.self, MMDiTFamily.self, AutoencoderFamily.self,
        AutoencoderTinyFamily.self, VARFamily.self, VQVAEFamily.self, MARFamily.self, LLaDAFamily.self,
        ILLaDAFamily.self,
        DreamFamily.self,
        StableDiffusionFamily.self, AudioFamily.self, CLIPTextFamily.self, CLAPTextFamily.self, T5Family.self,
        VocoderFamily.self,
    ]

    static var names: [String] { all.map { $0.name } }

    /// Throws `invalidArgument` for conventions that no family has. Families without any take no notice of those of others, as models of
    /// several are opened by the same options.
    static func check(conventions name: String?) throws(DiffError) {
        guard let name else { return }
        let known = all.flattened { $0.conventions }
        guard known.contains(name) else {
            throw DiffError(
                .invalidArgument, "conventions must be \(known.joined(separator: " or ")), found \"\(name)\"")
        }
    }

    /// The family that `options` or the config name. Throws `unsupported` when it is none of ours.
    static func choose(_ config: JSONObject, _ options: ModelOptions) throws(DiffError) -> any ModelFamily.Type {
        let configured = try config.optionalString("family")
        if let named = options.family ?? configured {
            guard let family = all.first(where: { $0.name == named }) else {
                throw DiffError(
                    .unsupported, "\(config.source): no family \"\(named)\"; known: \(names.joined(separator: ", "))")
            }
            return family
        }
        guard let family = all.first(where: { $0.recognises(config) }) else {
            throw DiffError(
                .unsupported,
                "\(config.source): the config has no \"family\" and no class this library knows "
                    + "(families: \(names.joined(separator: ", ")))")
        }
        return family
    }
}

extension JSONObject {
    /// Whether a config of transformers says that its model is of this type, or one of these classes.
    func isOf(type: String, classes: [String]) -> Bool {
        if value("model_type") == .string(type) { return true }
        guard case .array(let named)? = value("architectures") else { return false }
        return named.each.contains { name in classes.each.contains { name == .string($0) } }
    }
}

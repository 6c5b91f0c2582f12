import DiffCheckpoint
import DiffModels
import DiffTensor

/// The parts of a Stable Diffusion checkpoint by the names of diffusers, wherever they are: in folders of a pipeline.
struct StableDiffusionParts {
    /// One part: its configuration, entered in the ledger, and its tensors.
    struct Part {
        let name: String
        let config: JSONObject
        let weights: Weights
        /// Number of elements.
        let parameters: Int
    }

    /// Parts of published pipelines that take no part in making a picture here.
    private static let idle = ["safety_checker", "feature_extractor", "image_encoder", "watermark"]

    let opened: Opened
    private let index: [String: JSON]

    init(_ opened: Opened) {
        self.opened = opened
        index = opened.config.members
    }

    /// Whether the checkpoint has the part `name`: a folder of its own, which `model_index.json` does not call absent.
    func has(_ name: String) throws(DiffError) -> Bool {
        guard !isAbsent(name) else { return false }
        return try opened.checkpoint.hasSubdirectory(name)
    }

    /// The part `name`; nil when the checkpoint has none. Throws what opening it throws, `unsupported` when `rules` refuse its configuration.
    func part(_ name: String, _ rules: ConfigRules) throws(DiffError) -> Part? {
        guard try has(name) else { return nil }
        let checkpoint = try opened.checkpoint.subdirectory(name)
        let config = try opened.entered(checkpoint.configuration, as: "\(name)/config.json", rules)
        return Part(
            name: name, config: config, weights: Weights(checkpoint.tensors, options: opened.loading),
            parameters: checkpoint.tensors.elementCount)
    }

    /// The part `name`. Throws `io` when there is none.
    func required(_ name: String, _ rules: ConfigRules) throws(DiffError) -> Part {
        guard let part = try part(name, rules) else {
            throw DiffError(.io, "the pipeline has no folder \(name), without which it makes no pictures")
        }
        return part
    }

    /// The tokenizer in the folder `name`. Throws `io` when there is none.
    func tokenizer(_ name: String) throws(DiffError) -> PromptTokenizer {
        let folder = try has(name) ? try opened.checkpoint.directory?.subdirectory(name) : nil
        let tokenizer = try folder.map { (folder) throws(DiffError) in try PromptTokenizer(in: folder) } ?? nil
        guard let tokenizer else {
            throw DiffError(.io, "the pipeline has no tokenizer in \(name): prompts could not be read")
        }
        return tokenizer
    }

    /// The scheduler's settings; nil when there are none.
    func scheduler() throws(DiffError) -> JSONObject? {
        let name = "scheduler_config.json"
        guard let json = try opened.checkpoint.json(name, in: "scheduler") else { return nil }
        return try JSONObject(json, source: "scheduler/\(name)")
    }

    /// Parts that are there and are not run.
    func unused() throws(DiffError) -> [String] {
        var unused: [String] = []
        for name in Self.idle.each where try opened.checkpoint.hasSubdirectory(name) { unused.append(name) }
        return unused
    }

    /// Whether `model_index.json` says that there is no such part: `[null, null]`.
    private func isAbsent(_ name: String) -> Bool {
        guard case .array(let words)? = index[name] else { return index[name] == JSON.null }
        return words.each.allSatisfy { $0 == .null }
    }
}

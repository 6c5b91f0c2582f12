import DiffCheckpoint
import DiffModels
import DiffTensor

/// The parts of a Stable Diffusion checkpoint by the names of diffusers, wherever they are: in folders of a pipeline, or in a single file.
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
    /// Those that low-rank updates may change.
    private static let updated = ["unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"]

    let opened: Opened
    private let index: [String: JSON]
    private let lora: LoRASet

    /// Throws what opening the files of low-rank updates throws, and `incompatible` for one that changes a part that is not there.
    init(_ opened: Opened) throws(DiffError) {
        self.opened = opened
        index = opened.config.members
        var files: [(file: LoRAFile, scale: Double)] = []
        for one in opened.options.settings.lora.each {
            files.append((try LoRAFile.open(one.path, followingLinks: opened.options.followLinks), one.scale))
        }
        lora = LoRASet(files)
        var present: [String] = []
        for name in Self.updated.each where try has(name) { present.append(name) }
        try lora.require(present)
    }

    private var file: StableDiffusionFile? { opened.singleFile }

    /// Whether the checkpoint has the part `name`: in a single file its tensors, else a folder of its own that `model_index.json` does not
    /// call absent.
    func has(_ name: String) throws(DiffError) -> Bool {
        if name == "text_encoder_3", !opened.options.settings.usesT5 { return false }
        if let file { return file.part(name) != nil }
        return isAbsent(name) ? false : try opened.checkpoint.hasSubdirectory(name)
    }

    /// The part `name`; nil when the checkpoint has none. Throws what opening it throws, `unsupported` when `rules` refuse its configuration.
    func part(_ name: String, _ rules: ConfigRules) throws(DiffError) -> Part? {
        guard try has(name) else { return nil }
        let (config, tensors) = try contents(name)
        let entered = try opened.entered(config, as: "\(name)/config.json", rules)
        var loading = opened.loading
        if ["unet", "transformer"].contains(name) {
            loading.part = opened.options.networkPart
        } else if ["vae", "vocoder"].contains(name) {
            loading = opened.options.companions.ofRoot(loading)
        }
        loading.updates = try lora.updates(of: name, config: .object(config.members), tensors: tensors)
        return Part(
            name: name, config: entered, weights: Weights(tensors, options: loading),
            parameters: tensors.elementCount)
    }

    /// Configuration and tensors of the part `name`, as they are found. Throws `io` when there is none.
    func contents(_ name: String) throws(DiffError) -> (JSONObject, TensorTable) {
        if let part = file?.part(name) {
            return (try JSONObject(part.config, source: "\(name)/config.json"), part.tensors)
        }
        let checkpoint = try opened.checkpoint.subdirectory(name)
        let config = try checkpoint.configuration
        return (try JSONObject(.object(config.members), source: "\(name)/config.json"), checkpoint.tensors)
    }

    /// The part `name`. Throws `io` when there is none.
    func required(_ name: String, _ rules: ConfigRules) throws(DiffError) -> Part {
        guard let part = try part(name, rules) else {
            throw DiffError(.io, "the pipeline has no \(name), without which it makes nothing")
        }
        return part
    }

    /// The tokenizer for the text encoder `encoder` in the folder `name`: of the checkpoint, or of the folder that the options name; CLIP's,
    /// which is built in, where a single file has none. Throws `io` when there is none.
    func tokenizer(_ name: String, for encoder: String) throws(DiffError) -> PromptTokenizer {
        if let path = opened.options.settings.tokenizer {
            let given = try Directory(path: path, followingLinks: opened.options.followLinks)
            // A folder of one tokenizer, or one that holds a pipeline's.
            let folder = try given.containsDirectory(name) ? given.subdirectory(name) : given
            if let tokenizer = try entered(folder, name) { return tokenizer }
            throw DiffError(
                .io, "\(path): there is no tokenizer in it: vocab.json and merges.txt, tokenizer.json or spiece.model")
        }
        if let padding = file?.paddings[encoder] { return try PromptTokenizer(builtInPadding: padding) }
        if try opened.checkpoint.hasSubdirectory(name),
            let folder = try opened.checkpoint.directory?.subdirectory(name),
            let tokenizer = try entered(folder, name)
        {
            return tokenizer
        }
        throw DiffError(
            .io, "there is no tokenizer for \(encoder): name a folder that has one with the setting \"tokenizer\"")
    }

    /// The tokenizer in `folder`, its configuration entered in the ledger; nil when there is none.
    private func entered(_ folder: Directory, _ name: String) throws(DiffError) -> PromptTokenizer? {
        try PromptTokenizer(in: folder) { (config) throws(DiffError) in
            try opened.entered(config, as: "\(name)/tokenizer_config.json", FileRules.promptTokenizer)
        }
    }

    /// The scheduler's settings; nil when there are none.
    func scheduler() throws(DiffError) -> JSONObject? {
        let name = "scheduler_config.json"
        if let file { return try file.scheduler.map { (json) throws(DiffError) in try JSONObject(json, source: name) } }
        guard let json = try opened.checkpoint.json(name, in: "scheduler") else { return nil }
        return try JSONObject(json, source: "scheduler/\(name)")
    }

    /// The same, entered in the ledger. Throws `unsupported` when `rules` refuse it.
    func enteredScheduler(_ rules: ConfigRules) throws(DiffError) -> JSONObject? {
        if let file = try scheduler() { return try opened.entered(file, as: file.source, rules) }
        opened.ledger.assume(
            "there is no scheduler/scheduler_config.json: sampling is as the published models of this kind have it")
        return nil
    }

    /// Parts that are there and are not run, and groups of tensors of a single file.
    func unused() throws(DiffError) -> [String] {
        if let file { return file.ignoredGroups }
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

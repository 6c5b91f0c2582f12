import DiffCheckpoint
import DiffModels
import DiffTensor

/// The files beside a language model's config.
extension LanguageCore {
    /// Takes from `generation_config.json` which token masks, where the config does not say, and which tokens end a text. Its defaults of
    /// requests are told and not taken.
    static func complete(_ c: inout LanguageConfiguration, _ opened: Opened) throws(DiffError) {
        let name = "generation_config.json"
        guard let json = try opened.checkpoint.json(name) else { return }
        let file = try opened.entered(JSONObject(json, source: name), as: name, FileRules.generation)
        let tokens = 0...max(0, c.vocabulary &- 1)
        let mask = try file.optionalInteger("mask_token_id", in: tokens)
        c.maskToken = c.maskToken ?? mask
        var ends: [Int] = []
        if case .array? = file.value("eos_token_id") {
            ends = try file.integers("eos_token_id", in: 0...Limits.vocabulary)
        } else if let end = try file.optionalInteger("eos_token_id", in: 0...Limits.vocabulary) {
            ends = [end]
        }
        for end in ends.each where !c.endTokens.contains(end) { c.endTokens.append(end) }
        let left = requestDefaults.each.filter { file.has($0) }
        guard !left.isEmpty else { return }
        opened.ledger.assume(
            "\(name) has defaults of requests for transformers (\(left.joined(separator: ", "))): not taken, a request says what it "
                + "wants")
    }

    private static let requestDefaults = [
        "temperature", "top_p", "top_k", "do_sample", "max_length", "max_new_tokens", "steps", "eps", "alg", "alg_temp",
        "cfg_scale", "block_length", "gen_length", "remasking", "threshold",
    ]

    /// Enters `tokenizer_config.json`. Throws `unsupported` for a setting that changes tokens or texts and that is not done here.
    static func enterTokenizerConfig(_ opened: Opened, _ family: LanguageConfiguration.Family) throws(DiffError) {
        let name = "tokenizer_config.json"
        guard let json = try opened.checkpoint.json(name) else { return }
        let file = try opened.entered(JSONObject(json, source: name), as: name, FileRules.tokenizer)
        let sign: String
        switch family {
        case .llada: sign = "<|start_header_id|>"
        case .dream: sign = "<|im_start|>"
        // Chats of these are refused: their form is not known.
        case .illada: return
        }
        guard case .string(let template)? = file.value("chat_template"), !template.holds(sign) else { return }
        opened.ledger.assume(
            "\(name) has a chat_template of another kind: conversations are written as the published \(family.rawValue) models read "
                + "them, with \(sign); encode texts of your own for others")
    }
}

import DiffCheckpoint
public import DiffTensor

extension PromptTokenizer {
    /// CLIP's tokenizer with the vocabulary that is built in (``CLIPMerges``), which fills shorter texts up with the token `padding`. Throws
    /// `format` when there is no such token.
    public init(builtInPadding padding: String) throws(DiffError) {
        let source = "the built-in vocabulary"
        tokenizer = try Tokenizer(
            clip: JSONObject(CLIPMerges.vocabulary, source: source), merges: CLIPMerges.lines,
            beside: TokenizerNeighbours(), controls: [])
        guard let id = tokenizer.id(of: padding) else {
            throw DiffError(.format, "\(source): no token \"\(padding.prefix(60))\"")
        }
        (maxLength, self.padding) = (77, id)
    }
}

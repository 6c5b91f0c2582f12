import CTokenizerData
public import DiffCheckpoint
import DiffTensor

/// The vocabulary of CLIP, for single files of Stable Diffusion, which hold no tokenizer. All published CLIP text encoders of Stable
/// Diffusion have this one.
///
/// Source: OpenAI's CLIP (MIT licence; `Tools/clip_merges.py`). The same tokens and merges as in `vocab.json` and `merges.txt` of
/// `openai/clip-vit-large-patch14`.
public enum CLIPMerges {
    /// The tokens before and behind a text.
    public static let (start, end) = ("<|startoftext|>", "<|endoftext|>")
    /// What the end of a word is written as.
    static let wordEnd = "</w>"

    /// Tokens by id: bytes, bytes at the end of a word, merges, start, end.
    public static var tokens: [String] {
        var tokens: [String] = []
        for letter in alphabet.each { tokens.append(letter) }
        for letter in alphabet.each { tokens.append(letter + wordEnd) }
        for (left, right) in pairs.each { tokens.append((tokens.at(left) ?? "") + (tokens.at(right) ?? "")) }
        tokens.append(start)
        tokens.append(end)
        return tokens
    }

    /// The lines of `merges.txt` behind its first, best merge first.
    public static var lines: [String] {
        let tokens = tokens
        var lines: [String] = []
        for (left, right) in pairs.each { lines.append("\(tokens.at(left) ?? "") \(tokens.at(right) ?? "")") }
        return lines
    }

    /// What `vocab.json` says: the id of each token.
    public static var vocabulary: JSON {
        var members: [String: JSON] = [:]
        for (id, token) in tokens.numbered { members.put(.integer(id), for: token) }
        return .object(members)
    }

    /// The visible characters of the bytes, in the order of ids: bytes that are visible themselves first.
    private static var alphabet: [String] {
        var (visible, others): ([String], [String]) = ([], [])
        for (byte, scalar) in ByteAlphabet.scalars.numbered {
            guard let scalar = Unicode.Scalar(scalar) else { continue }
            if Int(scalar.value) == byte { visible.append(String(scalar)) } else { others.append(String(scalar)) }
        }
        for letter in others.each { visible.append(letter) }
        return visible
    }

    /// Ids of the two tokens of each merge.
    private static var pairs: [(Int, Int)] {
        var pairs: [(Int, Int)] = []
        guard let ids = unsafe ct_clip_merges() else { return pairs }
        for index in Indices(below: Int(ct_clip_merge_count())) {
            pairs.append(unsafe (Int(ids[2 &* index]), Int(ids[2 &* index &+ 1])))
        }
        return pairs
    }
}

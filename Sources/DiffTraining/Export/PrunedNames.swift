import DiffModels
import DiffTensor

/// Which tensor of a checkpoint becomes which when blocks are removed and the others numbered anew.
struct PrunedNames {
    private let prefix: String
    private let newIndex: [Int: Int]

    /// The names of a DiT of this naming of which the blocks `keep` stay, ascending.
    init(_ naming: DiTNaming, keep: [Int]) {
        prefix = naming == .official ? "blocks." : "transformer_blocks."
        var newIndex: [Int: Int] = [:]
        for (position, block) in keep.numbered { newIndex.put(position, for: block) }
        self.newIndex = newIndex
    }

    /// The new name of `name`; nil for tensors of removed blocks, and for gates and low-rank updates of a learning run.
    func renamed(_ name: String) -> String? {
        if name.hasPrefix("gumbel_gates") || name.contains(".lora_") { return nil }
        guard name.hasPrefix(prefix) else { return name }
        let rest = name.utf8.dropFirst(prefix.utf8.count)
        let digits = rest.prefix { $0 != UInt8(ascii: ".") }
        guard let text = String(digits), let block = Int(text), let index = newIndex[block] else { return nil }
        let tail = String(rest.dropFirst(digits.count)) ?? ""
        return "\(prefix)\(index)\(tail)"
    }

    /// The same tensor of block 0: diffusers keeps copies of the embedders in every block, and only those of block 0 are loaded.
    func inFirstBlock(_ name: String) -> String? {
        guard name.hasPrefix(prefix) else { return nil }
        let rest = name.utf8.dropFirst(prefix.utf8.count)
        let digits = rest.prefix { $0 != UInt8(ascii: ".") }
        guard let tail = String(rest.dropFirst(digits.count)), tail.hasPrefix(".norm1.emb.") else { return nil }
        return "\(prefix)0\(tail)"
    }
}

import DiffModels
import DiffTensor

/// Which tensor of a checkpoint becomes which when blocks are removed and the others renumbered.
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
        if name.hasPrefix("gumbel_gates") || name.holds(".lora_") { return nil }
        guard let (block, tail) = split(name) else { return name }
        guard let block, let index = newIndex[block] else { return nil }
        return "\(prefix)\(index)\(tail)"
    }

    /// The same tensor of block 0: diffusers keeps embedders in every block, and equal ones are loaded once.
    func inFirstBlock(_ name: String) -> String? {
        guard let (_, tail) = split(name), tail.hasPrefix(".norm1.emb.") else { return nil }
        return "\(prefix)0\(tail)"
    }

    /// The number of the block that tensor `name` belongs to, nil where none is written, and what follows it from the dot on. Nil for
    /// tensors outside of the blocks.
    private func split(_ name: String) -> (block: Int?, tail: String)? {
        guard name.hasPrefix(prefix) else { return nil }
        let start = prefix.utf8.count
        var (digits, tail): ([UInt8], [UInt8]) = ([], [])
        for (position, byte) in Array(name.utf8).numbered where position >= start {
            if tail.isEmpty, byte != UInt8(ascii: ".") { digits.append(byte) } else { tail.append(byte) }
        }
        return (Checked.decimal(digits), String(decoding: tail, as: UTF8.self))
    }
}

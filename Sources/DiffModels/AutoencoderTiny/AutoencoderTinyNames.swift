import DiffCheckpoint
import DiffTensor

/// Where the layers of one half of a tiny autoencoder stand in a checkpoint.
struct AutoencoderTinyNames {
    /// The scope of the layers, which are numbered.
    let scope: String
    /// The number of the first.
    let first: Int

    /// diffusers' names, or those of TAESD's own code, whose decoder begins with a layer without weights: in a file of both halves, or with
    /// the file names of the halves in front, or alone in a file. Nil: the checkpoint has no such half.
    init?(_ half: Half, _ weights: Weights) {
        let candidates = [
            ("\(half.rawValue).layers", 0), (half.rawValue, half.bare), ("taesd_\(half.rawValue)", half.bare),
            ("", half.bare),
        ]
        for (scope, first) in candidates.each {
            // The halves alone in a file are told apart by where their first convolution is.
            guard weights.scope(scope).has("\(first).weight"),
                half == .encoder || first == 0 || !weights.scope(scope).has("0.weight")
            else { continue }
            (self.scope, self.first) = (scope, first)
            return
        }
        return nil
    }

    enum Half: String {
        case encoder, decoder

        /// The number of the first convolution in TAESD's own code.
        var bare: Int { self == .encoder ? 0 : 1 }
    }
}

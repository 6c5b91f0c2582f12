import DiffCheckpoint
import DiffTensor
import Glibc

extension Weights {
    private static var suffix: String { "rotary_emb.inv_freq" }

    /// Notes buffers of rotary frequencies, which old checkpoints hold for every layer: they follow from the config and are not read.
    /// Throws `incompatible` when they are others than the config's, as those of scaled positions.
    func markRotaryFrequencies(_ c: LanguageConfiguration) throws(DiffError) {
        let names = table.names.each.filter { $0.hasSuffix(Self.suffix) }
        for name in names.each {
            let stored = try table.doubles(name)
            let count = c.headDim / 2
            let isOurs =
                stored.count == count
                && stored.numbered.allSatisfy { index, value in
                    let expected = pow(Double(c.rotaryBase), -2 * Double(index) / Double(max(1, c.headDim)))
                    // Rounded to bf16 in many files.
                    return abs(value - expected) <= 0.01 * expected
                }
            guard isOurs else {
                throw DiffError(
                    .incompatible,
                    "\(table.path): \(name) does not hold the frequencies of base \(c.rotaryBase) that the config says; correct its "
                        + "rope_theta, or leave the tensor out if it is not used")
            }
        }
        markUsed { $0.hasSuffix(Self.suffix) }
    }
}

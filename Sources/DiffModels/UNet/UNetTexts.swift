import DiffTensor

/// The texts that a U-Net reads, checked, with which of their tokens are seen.
struct UNetTexts {
    /// [n, tokens, width] each: as many as the network reads.
    let texts: [Tensor]
    let samples: Int
    private let visible: [Tensor?]

    /// Those of `conditioning`. Where a second text is read and none is given, the first one stands for it, all of it seen. Throws `shape`.
    init(_ conditioning: Conditioning, _ configuration: UNetConfiguration) throws(DiffError) {
        let first = conditioning.states
        samples = first.shape[0]
        var texts: [Tensor] = []
        for (number, width) in configuration.textWidths.numbered {
            let text = number == 0 ? first : conditioning.secondStates ?? first
            guard text.shape.rank == 3, text.shape[2] == width, text.shape.count > 0, text.shape[0] == samples else {
                throw DiffError(
                    .shape,
                    "text states \(text.shape), expected [\(number == 0 ? "n" : String(samples)), tokens, \(width)]"
                        + (number == 1 && conditioning.secondStates == nil
                            ? ": this network reads a second text, give encoder_hidden_states_1" : ""))
            }
            texts.append(text)
        }
        guard first.shape.count > 0 else { throw DiffError(.shape, "a conditioning of no samples") }
        if configuration.textWidths.count < 2, conditioning.secondStates != nil {
            throw DiffError(.shape, "a second text for a network that reads \(configuration.textWidths.count)")
        }
        self.texts = texts
        visible = [conditioning.mask, conditioning.secondMask]
    }

    /// What is added to the scaled products with the keys of each text, [n, tokens], or [n, 0] for nothing; none when all texts are seen.
    func masks(_ run: Run) throws(DiffError) -> [Tensor] {
        var (masks, hides): ([Tensor], Bool) = ([], false)
        for (number, text) in texts.numbered {
            guard let mask = visible.at(number) ?? nil else {
                masks.append(try run.workspace.take(Shape(samples, 0)))
                continue
            }
            hides = true
            masks.append(try KeyMask.visible(mask).bias(batch: samples, keys: text.shape[1], run))
        }
        return hides ? masks : []
    }

    /// The mask that ``masks(_:)`` made a tensor of; nil: all is seen.
    static func mask(_ tensor: Tensor) -> KeyMask? { tensor.shape[1] == 0 ? nil : .bias(tensor) }
}

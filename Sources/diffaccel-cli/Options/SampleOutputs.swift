import ArgumentParser
import DiffAccel

/// Where `sample` puts what it made.
struct SampleOutputs: ParsableArguments {
    @Option(
        help:
            "PNG file for all images in a grid, or WAV or FLAC file for a sound; - for standard output (default: samples.png or sample.wav, unless another output is named)."
    )
    var out: String?

    @Option(help: "Folder for one PNG or WAV file per sample.")
    var individual: String?

    @Option(help: "Safetensors file for the latents, - for standard output.")
    var latents: String?

    @Option(help: "Side of a pixel in the grid.")
    var scale = 1

    @OptionGroup(title: "Sounds from prompts") var sounds: SoundOptionGroup

    func validate() throws {
        guard (1...64).contains(scale) else { throw ValidationError("--scale must be 1...64.") }
    }

    /// Throws for a model that writes text when a picture, or what is behind one, is asked for.
    func refuse(besides facts: ModelFacts) throws {
        try sounds.refuse(besides: facts)
        guard facts.writesText,
            let name = [("out", out), ("individual", individual), ("latents", latents)].first(where: { $1 != nil })
        else { return }
        throw UsageError("--\(name.0) is for models that make pictures; a text goes to standard output")
    }

    /// The file of what is decoded; nil: other outputs were named.
    private func path(_ facts: ModelFacts) -> String? {
        guard out == nil, individual == nil, latents == nil, sounds.spectrogram == nil else { return out }
        return facts.makesSounds ? "sample.wav" : "samples.png"
    }

    /// Whether latents have to be decoded.
    private func decodes(_ facts: ModelFacts) -> Bool {
        path(facts) != nil || individual != nil || sounds.spectrogram != nil
    }

    /// Whether the final state of `request` is decoded: where images or sounds are wanted.
    func decide(_ request: inout SampleRequest, _ facts: ModelFacts) throws {
        let wanted = decodes(facts)
        if let decode = request["decode"], decode != .bool(wanted) {
            throw UsageError(
                wanted
                    ? "without decoding there are no images and no sounds: give --latents alone for the latents"
                    : "--decode without a file to write: give --out or --individual")
        }
        request["decode"] = .bool(wanted)
    }

    /// Keeps standard output for the picture or the latents, when they go there.
    func reserve(besidesJSON isJSON: Bool) throws(DiffError) {
        try ResultFile.checkFolder(individual, "--individual")
        try StandardOutput.reserve([out, latents, sounds.spectrogram], besidesJSON: isJSON)
    }

    /// Looks, before the long run, for what would keep its results from being written. Throws `unsupported` when images are
    /// wanted of a model that makes none, `io` for folders that are not there.
    func check(_ facts: ModelFacts, _ model: String, samples: Int) throws(DiffError) {
        if let latents { try ResultFile.check(latents) }
        if facts.makesSounds { return try sounds.check(path(facts), individual, count: samples) }
        if let file = path(facts) { try ResultFile.check(file) }
        if let individual { try Folder.make(individual) }
        guard decodes(facts), !facts.hasDecoder else { return }
        throw DiffError(
            .unsupported,
            "\(model) makes latents and has no decoder, so there are no images: use --latents FILE.safetensors alone to "
                + "get the latents, or --decoder FOLDER to name an autoencoder")
    }

    /// Writes the outputs that were asked for and returns their paths. `names` has one for each sample, `count` is how many there are of each
    /// class or prompt. A single picture of a prompt has no margin, and pictures of prompts carry what they were made with.
    func write(
        _ collected: Collected, _ facts: ModelFacts, _ names: [String], rows count: Int
    ) throws(DiffError) -> [String] {
        var written: [String] = []
        if facts.makesSounds {
            written = try sounds.write(collected, to: path(facts), individual, names)
        } else {
            written = try writePictures(collected, facts, names, count)
        }
        if let latents, let joined = try collected.joinedLatents() {
            try ResultFile.write(["latents": joined], to: latents)
            written.append(latents)
        }
        return ResultFile.said(written)
    }

    private func writePictures(
        _ collected: Collected, _ facts: ModelFacts, _ names: [String], _ count: Int
    ) throws(DiffError) -> [String] {
        var written: [String] = []
        let parameters = collected.statistics?.parameters ?? []
        if let gridPath = path(facts) {
            let columns = count > 1 ? count : ImageGrid.squareColumns(collected.pictures.count)
            let grid = try ImageGrid.arrange(
                collected.pictures, columns: columns, scale: scale, isFramed: parameters.count != 1)
            try PNGWriter.write(grid, to: gridPath, parameters: parameters.first)
            written.append(gridPath)
        }
        if let individual {
            for (index, picture) in collected.pictures.enumerated() {
                let number = String(String(index + 10_000).dropFirst())
                let name = names.indices.contains(index) ? "\(number)-\(names[index])" : number
                try PNGWriter.write(
                    picture, to: "\(individual)/\(name).png",
                    parameters: parameters.indices.contains(index) ? parameters[index] : nil)
            }
            written.append(individual)
        }
        return written
    }
}

import ArgumentParser
import DiffAccel

/// Where `sample` puts what it made.
struct SampleOutputs: ParsableArguments {
    @Option(
        help:
            "PNG file for all images in a grid, - for standard output (default: samples.png, unless another output is named)."
    )
    var out: String?

    @Option(help: "Folder for one PNG file per image.")
    var individual: String?

    @Option(help: "Safetensors file for the latents, - for standard output.")
    var latents: String?

    @Option(help: "Side of a pixel in the grid.")
    var scale = 1

    func validate() throws {
        guard (1...64).contains(scale) else { throw ValidationError("--scale must be 1...64.") }
    }

    private var gridPath: String? { out ?? (individual == nil && latents == nil ? "samples.png" : nil) }

    /// Whether latents have to be decoded.
    var wantsImages: Bool { gridPath != nil || individual != nil }

    /// Keeps standard output for the picture or the latents, when they go there.
    func reserve(besidesJSON isJSON: Bool) throws(DiffError) {
        try ResultFile.checkFolder(individual, "--individual")
        try StandardOutput.reserve([gridPath, latents], besidesJSON: isJSON)
    }

    /// Looks, before the long run, for what would keep its results from being written. Throws `unsupported` when images are
    /// wanted of a model that makes none, `io` for folders that are not there.
    func check(_ facts: ModelFacts, _ path: String) throws(DiffError) {
        for file in [gridPath, latents] { if let file { try ResultFile.check(file) } }
        if let individual { try Folder.make(individual) }
        guard wantsImages, !facts.hasDecoder else { return }
        throw DiffError(
            .unsupported,
            "\(path) makes latents and has no decoder, so there are no images: use --latents FILE.safetensors alone to "
                + "get the latents, or --decoder FOLDER to name an autoencoder")
    }

    /// Writes the outputs that were asked for and returns their paths. `rows` is the number of samples of each label.
    func write(_ collected: Collected, _ labels: [Int], rows count: Int) throws(DiffError) -> [String] {
        var written: [String] = []
        if let gridPath {
            let columns = count > 1 ? count : ImageGrid.squareColumns(labels.count)
            let grid = try ImageGrid.arrange(collected.pictures, columns: columns, scale: scale)
            try PNGWriter.write(grid, to: gridPath)
            written.append(gridPath)
        }
        if let individual {
            for (index, picture) in collected.pictures.enumerated() {
                let number = String(String(index + 10_000).dropFirst())
                try PNGWriter.write(picture, to: "\(individual)/\(number)-class\(labels[index]).png")
            }
            written.append(individual)
        }
        if let latents, let joined = try collected.joinedLatents() {
            try ResultFile.write(["latents": joined], to: latents)
            written.append(latents)
        }
        return ResultFile.said(written)
    }
}

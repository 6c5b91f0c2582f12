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

    /// Throws for a model that writes text when a picture, or what is behind one, is asked for.
    func refuse(besides facts: ModelFacts) throws {
        guard facts.writesText,
            let name = [("out", out), ("individual", individual), ("latents", latents)].first(where: { $1 != nil })
        else { return }
        throw UsageError("--\(name.0) is for models that make pictures; a text goes to standard output")
    }

    private var gridPath: String? { out ?? (individual == nil && latents == nil ? "samples.png" : nil) }

    /// Whether latents have to be decoded.
    var wantsImages: Bool { gridPath != nil || individual != nil }

    /// Whether the final state of `request` is decoded: where images are wanted.
    func decide(_ request: inout SampleRequest) throws {
        if let decode = request["decode"], decode != .bool(wantsImages) {
            throw UsageError(
                wantsImages
                    ? "without decoding there are no images: give --latents alone for the latents"
                    : "--decode without a picture to write: give --out or --individual")
        }
        request["decode"] = .bool(wantsImages)
    }

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

    /// Writes the outputs that were asked for and returns their paths. `names` has one for each sample, `count` is how many there are of each
    /// class or prompt. A single picture of a prompt has no margin, and pictures of prompts carry what they were made with.
    func write(_ collected: Collected, _ names: [String], rows count: Int) throws(DiffError) -> [String] {
        var written: [String] = []
        let parameters = collected.statistics?.parameters ?? []
        if let gridPath {
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
        if let latents, let joined = try collected.joinedLatents() {
            try ResultFile.write(["latents": joined], to: latents)
            written.append(latents)
        }
        return ResultFile.said(written)
    }
}

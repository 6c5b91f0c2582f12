import ArgumentParser
import DiffAccel
import DiffCheckpoint
import Glibc

/// Where `sample` puts what it made.
struct SampleOutputs: ParsableArguments {
    @Option(help: "PNG file for all images in a grid (default: samples.png, unless another output is named).")
    var out: String?

    @Option(help: "Folder for one PNG file per image.")
    var individual: String?

    @Option(help: "Safetensors file for the latents.")
    var latents: String?

    @Option(help: "Side of a pixel in the grid.")
    var scale = 1

    func validate() throws {
        guard (1...64).contains(scale) else { throw ValidationError("--scale must be 1...64.") }
    }

    private var gridPath: String? { out ?? (individual == nil && latents == nil ? "samples.png" : nil) }

    /// Whether latents have to be decoded.
    var wantsImages: Bool { gridPath != nil || individual != nil }

    /// Throws `unsupported` when images are wanted of a model that makes none.
    func check(_ facts: ModelFacts, _ path: String) throws(DiffError) {
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
            try Folder.make(individual)
            for (index, picture) in collected.pictures.enumerated() {
                let number = String(String(index + 10_000).dropFirst())
                try PNGWriter.write(picture, to: "\(individual)/\(number)-class\(labels[index]).png")
            }
            written.append(individual)
        }
        if let latents, let joined = try collected.joinedLatents() {
            try SafetensorsWriter.write(["latents": joined], to: latents)
            written.append(latents)
        }
        return written
    }
}

/// Folders for outputs.
enum Folder {
    /// Makes the folder `path` and those above it, unless they are there. Throws `io`.
    static func make(_ path: String) throws(DiffError) {
        var folder = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            folder += folder.isEmpty || folder.hasSuffix("/") ? String(part) : "/\(part)"
            let made = unsafe mkdir(folder, 0o777)
            let number = errno
            guard made == 0 || number == EEXIST || number == EISDIR else {
                let reason = unsafe strerror(number).flatMap { unsafe String(validatingCString: $0) } ?? "error \(number)"
                throw DiffError(.io, "\(folder): the folder cannot be made: \(reason)")
            }
        }
    }
}

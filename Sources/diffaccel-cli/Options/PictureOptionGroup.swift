import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `WIDTHxHEIGHT` in pixels.
struct PictureSize: ExpressibleByArgument {
    let width: Int, height: Int

    init?(argument: String) {
        let sides = argument.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard sides.count == 2, let width = sides[0], let height = sides[1], width > 0, height > 0 else { return nil }
        (self.width, self.height) = (width, height)
    }
}

/// What a picture from a prompt begins with, as files.
struct PictureOptionGroup: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Size of the pictures: width x height in pixels, such as 512x768; in place of the options width and height.",
            valueName: "size"))
    var size: PictureSize?

    @Option(
        help: ArgumentHelp(
            "PNG to begin with; the option strength says how much of it is changed. It is scaled to a given size.",
            valueName: "file"))
    var initImage: String?

    @Option(
        help: ArgumentHelp(
            "PNG that is white where --init-image is painted over, and black where it stays; scaled to the picture.",
            valueName: "file"))
    var mask: String?

    @Option(
        name: .customLong("from"),
        help: ArgumentHelp(
            "PNG that says what it was made with: prompt, steps, seed, size and so on are taken from it unless they are given.",
            valueName: "file"))
    var source: String?

    /// Adds to `request` what is said here. Throws for a model that draws no prompts, and what reading the files throws.
    func apply(to request: inout SampleRequest, _ facts: ModelFacts) throws {
        let given = [
            ("size", size != nil), ("init-image", initImage != nil), ("mask", mask != nil), ("from", source != nil),
        ]
        guard let first = given.first(where: \.1)?.0 else { return }
        guard facts.drawsPrompts else {
            throw UsageError("--\(first) is for models that draw what a prompt says, such as Stable Diffusion")
        }
        guard mask == nil || initImage != nil else {
            throw UsageError("--mask says which part of --init-image is painted over: give both")
        }
        if let size {
            guard request["width"] == nil, request["height"] == nil else {
                throw UsageError("--size says width and height: give either it or --width and --height")
            }
            (request["width"], request["height"]) = (.integer(size.width), .integer(size.height))
        }
        if let source { try take(PictureText(contentsOf: source), &request, facts) }
        if let initImage { try begin(with: initImage, &request, facts) }
    }

    private func take(_ text: PictureText, _ request: inout SampleRequest, _ facts: ModelFacts) throws(DiffError) {
        let form = try facts.model.requestForm
        // A prompt of one's own is without the other one's opposite.
        let hasPrompt = request["prompt"] != nil
        let options = try text.options(form) { name in
            request[name] != nil || (name == "negative_prompt" && hasPrompt) || (name == "strength" && initImage == nil)
                || (name == "seed" && request["seeds"] != nil)
        }
        for (name, value) in options { request[name] = value }
        if request["seed"] == options["seed"], let batch = text.laterInBatch {
            Terminal.say("\(batch): another picture comes of this one's seed alone")
        }
    }

    private func begin(with path: String, _ request: inout SampleRequest, _ facts: ModelFacts) throws(DiffError) {
        var picture = try PNGReader.read(path)
        let (width, height) = (request["width"]?.asInt ?? picture.width, request["height"]?.asInt ?? picture.height)
        if request["width"] == nil, request["height"] == nil, let factor = facts.pixelsOfLatent, factor > 0,
            picture.width % factor != 0 || picture.height % factor != 0
        {
            func fitting(_ side: Int) -> Int { max(1, (side + factor / 2) / factor) * factor }
            throw DiffError(
                .invalidArgument,
                "\(path) is \(picture.width) x \(picture.height) pixels, and sides must be multiples of \(factor): "
                    + "--size \(fitting(picture.width))x\(fitting(picture.height)) scales it")
        }
        guard (1...16_384).contains(width), (1...16_384).contains(height) else { return }
        picture = picture.scaled(width: width, height: height)
        request.tensors["image"] = .floats(try picture.pixels())
        guard let mask else { return }
        request.tensors["mask"] = .floats(
            try PNGReader.read(mask).nearest(width: width, height: height).brightness())
    }
}

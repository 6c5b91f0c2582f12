import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

/// The multi-scale VQ-VAE as a model of its own: pictures to codes and back.
@Suite struct VQVAETests {
    @Test func picturesBecomeTokensAndPicturesAgain() throws {
        let directory = try ScratchDirectory()
        try TinyVAR().write(directory)
        let model = try Model("\(directory.path)/var/vae")
        #expect(model.familyName == "vqvae")
        var numbers = Numbers(9)
        var inputs = NamedInputs()
        inputs.tensors = ["image": try numbers.tensor([2, 3, 4, 4])]
        let made = try model.forward(inputs, wanted: ["tokens", "state", "image"])
        let tokens = try #require(made["tokens"])
        #expect(tokens.shape.dims == [2, 30] && made["state"]?.shape.dims == [2, 4, 4, 4])
        var again = NamedInputs()
        again.integers = ["tokens": tokens.array.map { Int($0) }]
        let image = try #require(model.forward(again, wanted: ["image"])["image"])
        #expect(try sameBits(image.array, #require(made["image"]).array))
        again.integers = ["tokens": [1, 2]]
        #expect(failure { _ = try model.forward(again, wanted: ["image"]) }?.code == .shape)
        again.integers = ["tokens": Array(repeating: 24, count: 30)]
        #expect(failure { _ = try model.forward(again, wanted: ["image"]) }?.code == .invalidArgument)
        #expect(failure { _ = try model.session() }?.code == .unsupported)
    }

    /// At the coarsest scale the code is the one nearest to the mean feature: by distance, or by direction with `using_znorm`.
    @Test func codesAreFoundByDistanceOrByDirection() throws {
        let tiny = TinyVAR()
        let codes = try #require(tiny.tensors(tiny.codeShapes)["quantize.embedding.weight"]).array
        var numbers = Numbers(11)
        var inputs = NamedInputs()
        inputs.tensors = ["image": try numbers.tensor([16, 3, 4, 4])]
        var found: [[Float]] = []
        for byDirection in [false, true] {
            let directory = try ScratchDirectory()
            try tiny.write(directory)
            let config = JSON.object([
                "family": .string("vqvae"), "patch_nums": .array(tiny.sides.map { .integer($0) }),
                "using_znorm": .bool(byDirection),
            ])
            try directory.write(config, as: "var/vae/config.json")
            let model = try Model("\(directory.path)/var/vae")
            let made = try model.forward(inputs, wanted: ["tokens", "features"])
            let features = try #require(made["features"]).array
            let tokens = try #require(made["tokens"]).array
            var coarsest: [Float] = []
            for sample in 0..<16 {
                let mean = (0..<4).map { channel in
                    features[(sample * 4 + channel) * 16..<(sample * 4 + channel + 1) * 16].reduce(0, +) / 16
                }
                let merits = (0..<24).map { code -> Float in
                    let row = codes[code * 4..<code * 4 + 4]
                    let product = zip(row, mean).map(*).reduce(0, +)
                    let square = row.map { $0 * $0 }.reduce(0, +)
                    return byDirection ? product / square.squareRoot() : product - square / 2
                }
                let best = try #require(merits.max())
                coarsest.append(Float(merits.firstIndex(of: best) ?? -1))
                #expect(tokens[sample * 30] == coarsest[sample], "sample \(sample), by direction: \(byDirection)")
            }
            found.append(coarsest)
        }
        #expect(found[0] != found[1], "the rules differ")
    }
}

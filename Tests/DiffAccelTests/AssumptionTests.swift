import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

/// What is assumed of a model, and what its classes are called.
@Suite struct AssumptionTests {
    // MARK: Conventions

    @Test func guidedChannelsOfTheConfigCountUnderAllConventions() throws {
        let pipeline = try TinyPipeline(transformer: ["cfg_channels": .integer(2)])
        for conventions in DiTConventions.allCases {
            var options = ModelOptions()
            options.conventions = conventions.rawValue
            let description = try JSONObject(Model(pipeline.path, options).description, source: "description")
            #expect(try description.integer("guidance_channels", in: 0...9) == 2)
        }
    }

    @Test func anotherNormEpsMeansTrainingInDiffusers() throws {
        let pipeline = try TinyPipeline(transformer: ["norm_eps": .number(1e-3)])
        let model = try Model(pipeline.path)
        let config = try JSONObject(model.description, source: "description").object("config")
        #expect(try config.string("conventions") == "diffusers")
        #expect(try texts(model, "assumptions").first?.contains("norm_eps") == true)
        var options = ModelOptions()
        options.conventions = "official"
        let error = failure { _ = try Model(pipeline.path, options) }
        #expect(error?.code == .unsupported && error?.message.contains("norm_eps") == true)
    }

    @Test func whatAVARWithoutConfigIsTakenForIsTold() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyVAR()
        (tiny.width, tiny.heads, tiny.normalisesHeads) = (64, 1, false)
        let path = try tiny.write(directory)
        try directory.write(
            changed(tiny.config, ["num_heads": .null, "model": .null]), as: "var/config.json")
        let text = try texts(Model(path), "assumptions").first
        #expect(text?.contains("num_heads") == true && text?.contains("patch_nums") == false)
    }

    // MARK: Names of classes

    @Test func thePipelinesNamesAreTheClasses() throws {
        let names = [
            "0": "tench, Tinca tinca", "1": "crane", "2": "crane, lifting device", "4": "goldfish, Carassius auratus",
        ]
        let pipeline = try TinyPipeline(index: ["id2label": .object(names.mapValues { .string($0) })])
        let model = try Model(pipeline.path)
        let classes = model.classNames
        #expect(
            try texts(model, "labels") == [
                "tench, Tinca tinca", "crane", "crane, lifting device", "", names["4"] ?? "",
            ])
        #expect(try classes.index(of: "tench") == 0 && classes.index(of: "tinca TINCA") == 0)
        #expect(try classes.index(of: " lifting device") == 2 && classes.index(of: names["4"] ?? "") == 4)
        // The whole text of one class and a part of another's: the whole text counts.
        #expect(try classes.index(of: "crane") == 1)
        #expect(failure { _ = try classes.index(of: "Crane device") }?.code == .invalidArgument)
        #expect(failure { _ = try classes.index(of: "") }?.code == .invalidArgument)
        let twice = try TinyPipeline(
            index: ["id2label": .object(["0": .string("a, crane"), "1": .string("b, crane")])])
        let error = failure { _ = try Model(twice.path).classNames.index(of: "crane") }
        #expect(error?.code == .invalidArgument && error?.message.contains("0 and 1") == true)
    }

    @Test func namesOfClassesThatAreNotThereAreRefused() throws {
        for key in ["5", "-1", "x", "99999999999999999999"] {
            let pipeline = try TinyPipeline(index: ["id2label": .object([key: .string("a")])])
            let error = failure { _ = try Model(pipeline.path) }
            #expect(error?.code == .format && error?.message.contains("id2label") == true)
        }
        let pipeline = try TinyPipeline(
            index: ["id2label": .object(["0": .string("a")])],
            transformer: ["labels": .array(["v", "w", "x", "y", "z"].map { .string($0) })])
        #expect(try Model(pipeline.path).classNames.texts == ["v", "w", "x", "y", "z"], "the config's own come first")
    }
}

import DiffAcceleration
public import DiffCheckpoint
import DiffSampling
import DiffTensor

/// Facts about the library itself.
public enum Library {
    /// "major.minor.patch"
    public static var version: String { versionText.description }
    /// The same as a constant of the program: its text never moves.
    public static let versionText: StaticString = "0.1.0"
    /// Number of the newest C interface.
    public static let abiVersion = 2

    /// Names of the samplers that image requests can ask for; which of them a model has is in its description.
    public static var samplers: [String] { Solvers.samplers }

    private static func json(_ tables: [String: [OptionSpec]]) -> JSON {
        .object(tables.mapValues(\.json))
    }

    /// Version, kernels in use, families, methods, samplers, limits, and the options of plan entries (`plan_options`, by method) and of
    /// trainings (`training_options`, by training) as JSON.
    public static var description: JSON {
        .object([
            "version": .string(version), "abi": .integer(abiVersion), "isa": .string(Machine.instructionSet),
            "processors": .integer(Machine.processors),
            "families": .array(Families.names.map { .string($0) }),
            "methods": .array(Plan.methodNames.map { .string($0) }),
            "plan_options": Self.json(Plan.optionTables),
            "training_options": Self.json(TrainerSettings.optionTables),
            "samplers": .array(samplers.map { .string($0) }),
            "limits": .object([
                "rank": .integer(Shape.maxRank), "header_bytes": .integer(Limits.headerBytes),
                "tensors": .integer(Limits.tensors), "shards": .integer(Limits.shards),
                "name_bytes": .integer(Limits.nameBytes), "config_bytes": .integer(Limits.configBytes),
                "json_depth": .integer(Limits.jsonDepth), "layers": .integer(Limits.layers),
                "width": .integer(Limits.width), "heads": .integer(Limits.heads),
                "samples": .integer(SampleRequest.maxSamples),
            ]),
        ])
    }
}

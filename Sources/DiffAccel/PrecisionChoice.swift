import DiffCheckpoint
import DiffTensor

/// What a model's products of matrices shall be computed in.
public enum PrecisionChoice: String, Sendable, CaseIterable {
    /// f32: results have the same bits on every processor of an instruction set.
    case f32
    /// bf16 with sums in f32, where the processor has the instructions.
    case bf16
    /// Whole numbers; not there yet, and refused by name.
    case int8
    /// bf16 where the processor has the instructions, else f32.
    case auto

    static let option = OptionSpec(
        "precision", .cases(of: PrecisionChoice.self), default: .string(PrecisionChoice.f32.rawValue),
        "What linear layers over tokens, direct convolutions and attention multiply in: f32; bf16, factors rounded to bf16 and sums in f32, where the processor has the instructions, else it is refused; auto, bf16 where it has them and f32 elsewhere. int8 is not there yet."
    )
}

/// The one place that decides what a model computes in: weights are loaded, and sessions run, by ``precision``.
extension ModelOptions {
    /// What products are computed in under these options.
    var precision: Precision {
        switch settings.precision {
        case .f32, .int8: .f32
        case .bf16: .bf16
        case .auto: weights != .int8 && Precision.bf16.isSupported ? .bf16 : .f32
        }
    }

    /// Throws `unsupported` for a precision that this processor or the type of weights has not.
    func checkPrecision() throws(DiffError) {
        switch settings.precision {
        case .f32, .auto: return
        case .int8:
            throw DiffError(
                .unsupported,
                "precision \"int8\" is not there yet: take \"bf16\", or keep weights of one byte (weights \"int8\") and compute in \"f32\""
            )
        case .bf16:
            guard Precision.bf16.isSupported else {
                throw DiffError(
                    .unsupported,
                    "precision \"bf16\" needs a processor with AVX512_BF16, and the kernels in use are \(Machine.instructionSet): "
                        + "take \"f32\", or \"auto\", which is f32 here")
            }
            guard weights != .int8 else {
                throw DiffError(
                    .unsupported,
                    "precision \"bf16\" keeps the weights of its products in bf16: take weights \"stored\" with it, or precision \"f32\" "
                        + "with weights \"int8\"")
            }
        }
    }

    /// The same for learning, which is in f32. Throws `unsupported` for what is for inference only.
    func forLearning(_ path: String) throws(DiffError) -> ModelOptions {
        guard weights != .int8 else {
            throw DiffError(.unsupported, "\(path): int8 weights are for inference; learning keeps weights in f32")
        }
        guard settings.precision == .f32 || settings.precision == .auto else {
            throw DiffError(
                .unsupported,
                "\(path): precision \"\(settings.precision.rawValue)\" is for inference; learning takes \"f32\" or \"auto\""
            )
        }
        var options = self
        options.settings.precision = .f32
        return options
    }
}

public import DiffCheckpoint
import DiffTensor
import DiffTraining

/// The memory of a training, learned from a dry run of a step.
public struct TrainerEstimate: Sendable, Equatable {
    /// Bytes: weights in memory (a teacher's and a VQ-VAE's included); gradients, moments, averages and data as stored; activations of a
    /// step, or what packing the largest weight takes if that is more.
    public let weights: Int, learning: Int, workspace: Int
    /// What the trainer's memory limit must allow.
    public var peak: Int { Checked.sum(weights, learning, workspace) }
    /// Parameters that learn.
    public let trained: Int

    /// The estimate as JSON.
    public var json: JSON {
        .object([
            "bytes": .object([
                "weights": .integer(weights), "learning": .integer(learning), "workspace": .integer(workspace),
                "peak": .integer(peak),
            ]),
            "trained_parameters": .integer(trained),
        ])
    }
}

extension Trainer {
    /// What ``init(_:_:_:_:)`` and its steps with the same arguments would need. Weights are not read, nothing large is allocated.
    public static func estimate(
        _ path: String, _ settings: JSON, _ model: ModelOptions = ModelOptions(), threads: Int = 0
    ) throws(DiffError) -> TrainerEstimate {
        let settings = try TrainerSettings(settings)
        let resources = LearningResources(dryOn: threads == 0 ? Machine.processors : threads)
        let recipe = try TrainingRecipes.open(path, model, settings, resources)
        _ = try recipe.procedure.step()
        var (weights, trained, largest) = (0, 0, 0)
        for parameter in recipe.parameters.all.each {
            let count = parameter.tensor.shape.count
            weights = Checked.sum(weights, count &* 4)
            guard parameter.node != nil else { continue }
            trained = Checked.sum(trained, count)
            largest = max(largest, count)
        }
        // Gradient and two moments of each; averages where all weights have one; a gradient of zeros for those that got none.
        let copies = settings.method.learnsWeights ? 4 : 3
        let learning = Checked.sum(
            trained == 0 ? 0 : Checked.sum(trained &* 4 &* copies, largest &* 4), recipe.procedure.heldBytes)
        return TrainerEstimate(
            weights: Checked.sum(weights, recipe.otherWeights), learning: learning,
            workspace: max(recipe.procedure.workspaceBytes, recipe.loading), trained: trained)
    }
}

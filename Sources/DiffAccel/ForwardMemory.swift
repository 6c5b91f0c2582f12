import DiffTensor
import Synchronization

/// The working memory of a model's last forward, kept for the next one of the same sizes: a large network touches its memory for the first
/// time at a few hundredths of what the evaluation costs.
///
/// Thread-safe: forwards at the same time have memory of their own, of which that of the last to end stays.
final class ForwardMemory: Sendable {
    // Unchecked: a workspace is here only while no run uses it, and whoever takes it out is alone with it.
    private struct Kept: @unchecked Sendable {
        let workspace: Workspace
        let sizes: [String: [Int]]
    }

    private let kept = Mutex<Kept?>(nil)

    /// Memory for a forward of inputs of these `sizes`, not charged to any limit.
    func take(_ sizes: [String: [Int]]) throws(DiffError) -> Workspace {
        let last = kept.withLock { kept in
            defer { kept = nil }
            return kept
        }
        // Blocks of other sizes would only lie beside the new ones.
        if let last, last.sizes == sizes { return last.workspace }
        return Workspace(budget: try MemoryBudget())
    }

    /// Gives back what ``take(_:)`` gave.
    func keep(_ workspace: Workspace, _ sizes: [String: [Int]]) {
        let given = Kept(workspace: workspace, sizes: sizes)
        kept.withLock { $0 = given }
    }
}

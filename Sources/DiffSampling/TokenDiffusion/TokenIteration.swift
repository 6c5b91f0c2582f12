public import DiffTensor
import Glibc

/// How the scale of guidance changes while tokens are generated.
public enum TokenGuidanceSchedule: String, Sendable, CaseIterable {
    /// In proportion to the tokens that are generated after the iteration: 1 + (s - 1) (S - left) / S, which never is s.
    case linear
    /// The same in all iterations.
    case constant
}

/// One iteration of generation: how many tokens of each sample it predicts.
public struct TokenIteration: Sendable, Equatable {
    /// Tokens that are unknown before and after it.
    public let before: Int, after: Int
    /// The scale of guidance; 1: none.
    public let scale: Double

    /// An iteration after which `after` of `before` unknown tokens are left.
    public init(before: Int, after: Int, scale: Double) {
        (self.before, self.after, self.scale) = (before, after, scale)
    }

    /// Tokens that it predicts.
    public var count: Int { before &- after }

    /// The iterations that predict `tokens` tokens in `asked` iterations, in which the number that is left follows a cosine; those that have
    /// none to predict are left out. Source: `sample_tokens` of LTH14/mar.
    ///
    /// The comparison with 1 is exact, as in the source: any other `guidance` is one in all iterations.
    public static func all(
        tokens: Int, iterations asked: Int, guidance: Double, _ schedule: TokenGuidanceSchedule
    ) throws(DiffError) -> [TokenIteration] {
        guard tokens > 0, (1...maxIterations).contains(asked) else {
            throw DiffError(.invalidArgument, "steps must be 1...\(maxIterations), found \(asked)")
        }
        guard guidance.isFinite, guidance >= 0 else {
            throw DiffError(.invalidArgument, "guidance must be 0 or more, found \(guidance)")
        }
        var iterations: [TokenIteration] = []
        var unknown = tokens
        for index in Indices(below: asked) {
            let ratio = cos(Double.pi / 2 * Double(index &+ 1) / Double(asked))
            let aimed = Checked.integer((Double(tokens) * ratio).rounded(.down)) ?? 0
            // At least one token stays for the last iteration, which predicts all that are left.
            let left = max(1, min(unknown &- 1, aimed))
            let after = index == asked &- 1 ? 0 : left
            let share = Double(tokens &- left) / Double(tokens)
            let scale = schedule == .constant ? guidance : 1 + (guidance - 1) * share
            if after < unknown {
                iterations.append(TokenIteration(before: unknown, after: after, scale: guidance == 1 ? 1 : scale))
            }
            unknown = after
        }
        return iterations
    }

    /// More iterations than this are refused; more than there are tokens change nothing.
    public static let maxIterations = 1000
}

public import DiffCheckpoint
import DiffTensor

/// What one process of a run took.
public struct RankStatistics: Sendable, Equatable {
    /// Bytes of weights in its memory, the most beside them, and sent to other processes.
    public let weightBytes: Int, peakBytes: Int, sentBytes: Int

    /// These bytes.
    public init(weightBytes: Int, peakBytes: Int, sentBytes: Int) {
        (self.weightBytes, self.peakBytes, self.sentBytes) = (weightBytes, peakBytes, sentBytes)
    }

    /// As another process sent it. Throws `format`.
    init(bytes: [UInt8]) throws(DiffError) {
        let source = "what a rank took"
        let json = try JSONObject(
            JSON(parsing: String(decoding: bytes, as: UTF8.self), source: source), source: source)
        self.init(
            weightBytes: try json.integer("weights", in: 0...Int.max),
            peakBytes: try json.integer("peak", in: 0...Int.max), sentBytes: try json.integer("sent", in: 0...Int.max))
    }

    /// `weights`, `peak` and `sent`, in bytes.
    public var json: JSON {
        .object(["weights": .integer(weightBytes), "peak": .integer(peakBytes), "sent": .integer(sentBytes)])
    }
}

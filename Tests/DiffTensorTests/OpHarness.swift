import DiffTensor
import TestSupport
import Testing

/// Runs an op live on one and on two threads, and dry; compares it with a reference in double precision.
///
/// Every element must be within `tolerance` of the reference, measured in parts of the largest reference value (and of 1):
/// float32 keeps 6e-8, sums of n terms lose about √n of that. Both live runs must give the same bits, since an element is
/// computed by one task in one order; the dry run must have the same shape, operation count and memory.
func check(
    _ name: String, _ reference: [Double], _ dims: [Int], tolerance: Double,
    sourceLocation: SourceLocation = #_sourceLocation, _ op: (Run) throws -> Tensor
) throws {
    var bits: [[Float]] = []
    for threads in [1, 2] {
        let live = Run(pool: try WorkerPool(threads: threads), budget: nil)
        let out = try op(live)
        #expect(out.shape.dims == dims, "\(name): shape", sourceLocation: sourceLocation)
        let values = out.array
        bits.append(values)
        let largest = reference.reduce(1) { max($0, abs($1)) }
        let difference = Difference(values, reference)
        #expect(
            difference.absolute <= tolerance * largest, "\(name) on \(threads) threads: \(difference)",
            sourceLocation: sourceLocation)

        let dry = Run(dryOn: threads)
        let shadow = try op(dry)
        #expect(shadow.shape == out.shape, "\(name): dry shape", sourceLocation: sourceLocation)
        #expect(dry.trace.flops == live.trace.flops, "\(name): dry operations", sourceLocation: sourceLocation)
        #expect(
            dry.workspace.peakBytes == live.workspace.peakBytes, "\(name): dry memory", sourceLocation: sourceLocation)
        #expect(shadow.array.isEmpty, "\(name): a dry run has no elements", sourceLocation: sourceLocation)
    }
    #expect(sameBits(bits[0], bits[1]), "\(name): threads change bits", sourceLocation: sourceLocation)
}

/// A mistake that an op must refuse with `code`, live and dry alike.
func refuses(
    _ code: DiffError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ op: (Run) throws -> Void
) {
    for run in [Run(pool: nil, budget: nil), Run(dryOn: 1)] {
        do {
            try op(run)
            Issue.record("nothing was thrown", sourceLocation: sourceLocation)
        } catch {
            #expect((error as? DiffError)?.code == code, "\(error)", sourceLocation: sourceLocation)
        }
    }
}

extension Tensor {
    /// The elements in double precision.
    var doubles: [Double] { array.map(Double.init) }
}

import DiffTensor
import TestSupport
import Testing

/// The gradients of Σ r · op(inputs) by the tape, for random r, against central differences of the op itself.
///
/// Every element of every input is moved. Both live runs must give the same bits; a dry run must count the same operations and memory. With
/// `recomputes` the op is a segment that the backward pass goes through again.
func checkGradient(
    _ name: String, _ inputs: [Tensor], step: Float = 1e-2, tolerance: Double = 4e-3, recomputes: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation, _ op: @escaping (Run, [Tensor]) throws(DiffError) -> Tensor
) throws {
    var bits: [[Float]] = []
    let shape = try op(Run(dryOn: 1), inputs).shape
    var numbers = Numbers(UInt64(shape.count))
    let r = try numbers.tensor(shape.dims)
    for threads in [1, 2] {
        let run = Run(pool: try WorkerPool(threads: threads), budget: nil)
        let live = try gradients(of: op, inputs, r, run, recomputes)
        bits.append(live.flatMap { $0 })
        guard threads == 1 else { continue }
        for (index, gradient) in live.enumerated() {
            let expected = try differences(of: op, inputs, index, r, step, run)
            let largest = expected.reduce(0.05) { max($0, abs($1)) }
            let difference = Difference(gradient, expected)
            #expect(
                difference.absolute <= tolerance * largest, "\(name), input \(index): \(difference)",
                sourceLocation: sourceLocation)
        }
        let (first, dry) = (Run(pool: try WorkerPool(threads: 1), budget: nil), Run(dryOn: 1))
        _ = try gradients(of: op, inputs, r, first, recomputes)
        _ = try gradients(of: op, inputs, r, dry, recomputes)
        #expect(dry.trace.flops == first.trace.flops, "\(name): dry operations", sourceLocation: sourceLocation)
        #expect(
            dry.workspace.peakBytes == first.workspace.peakBytes, "\(name): dry memory", sourceLocation: sourceLocation)
    }
    #expect(sameBits(bits[0], bits[1]), "\(name): threads change bits", sourceLocation: sourceLocation)
}

/// The tape's gradients of Σ r · op(inputs), one array for each input.
func gradients(
    of op: @escaping (Run, [Tensor]) throws(DiffError) -> Tensor, _ inputs: [Tensor], _ r: Tensor, _ run: Run,
    _ recomputes: Bool = false
) throws -> [[Float]] {
    let parameters = Parameters()
    let tracked = inputs.map { parameters.add(["x"], $0, trained: true) }
    let buffers = try ParameterGradients(parameters, budget: nil, isVirtual: run.isDry)
    let tape = Tape(buffers, recomputes: recomputes)
    try run.recording(tape) { () throws(DiffError) in
        let out = try run.segment { () throws(DiffError) in try op(run, tracked) }
        try tape.pass(r, to: out, run)
        try tape.backward(run)
    }
    return inputs.indices.map { index in
        buffers[index]?.array ?? Array(repeating: 0, count: inputs[index].shape.count)
    }
}

private func differences(
    of op: (Run, [Tensor]) throws(DiffError) -> Tensor, _ inputs: [Tensor], _ index: Int, _ r: Tensor, _ step: Float,
    _ run: Run
) throws -> [Double] {
    let values = inputs[index].array
    func loss(_ changed: [Float]) throws -> Double {
        var moved = inputs
        moved[index] = try Tensor(changed, inputs[index].shape)
        let out = try op(run, moved).array
        return zip(out, r.array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    return try values.indices.map { place in
        var (up, down) = (values, values)
        up[place] += step
        down[place] -= step
        return (try loss(up) - loss(down)) / (Double(up[place]) - Double(down[place]))
    }
}

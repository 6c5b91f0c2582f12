import DiffTensor

/// Lu + (scale + 1)(L - Lu) of the two halves of `logits`; `logits` itself without guidance.
func guided(_ logits: Tensor, _ scale: Double, _ run: Run) throws(DiffError) -> Tensor {
    guard scale > 0 else { return logits }
    let rows = logits.shape.rows / 2
    let own = try run.gatherRows(logits, Array(0..<rows))
    let unconditional = try run.gatherRows(logits, Array(rows..<(2 * rows)))
    return try run.combine(1, unconditional, Float(scale + 1), run.combine(1, own, -1, unconditional))
}

import DiffTensor

extension [Double] {
    /// The mean; 0 of no numbers.
    ///
    /// A function of its own: inlined, the loop can keep a bounds check (see Tests/TrapCensus).
    @inline(never)
    var mean: Double { each.reduce(0, +) / Double(Swift.max(1, count)) }
}

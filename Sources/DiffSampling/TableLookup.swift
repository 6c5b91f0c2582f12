// Tables of schedules, without a check that could end the process: see `CheckedAccess`.

extension [Double] {
    /// The entry at `index` and the one after it; the last entry twice at the end.
    func pair(at index: Int) -> (Double, Double) {
        unsafe withUnsafeBufferPointer { values in
            guard index >= 0, index < values.count else { return (0, 0) }
            return unsafe (values[index], values[index &+ 1 < values.count ? index &+ 1 : index])
        }
    }

    /// The last position, before the last entry, up to which `holds` is true of every entry; 0 when there is none.
    func lastPosition(_ holds: (Double) -> Bool) -> Int {
        var (low, high) = (0, Swift.max(0, count &- 2))
        while low < high {
            let middle = (low &+ high &+ 1) >> 1
            if holds(pair(at: middle).0) { low = middle } else { high = middle &- 1 }
        }
        return low
    }
}

/// Inside an extension of String `Indices` is String's own.
private typealias Starts = Indices

extension String {
    /// Whether `part` stands somewhere in this text.
    ///
    /// Not `contains`: with a text for its argument that is the regular expressions' module, two megabytes of the library.
    @inline(never)
    public func holds(_ part: String) -> Bool {
        let (name, wanted) = (Array(utf8), Array(part.utf8))
        for start in Starts(below: name.count &- wanted.count &+ 1) {
            if wanted.numbered.allSatisfy({ name.at(start &+ $0.offset) == $0.element }) { return true }
        }
        return false
    }
}

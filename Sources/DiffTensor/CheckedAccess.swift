// Reading and filling containers without a check that ends the process: the compiler sees that no index is outside, so none is
// left in the code. The census of such checks (Tests/TrapCensus) holds the readers and the boundary to none at all.

extension Array {
    /// The element at `index`, or nil outside of the array.
    @inlinable
    public func at(_ index: Int) -> Element? { index >= 0 && index < count ? self[index] : nil }

    /// Lets `change` change the element at `index`; nothing happens outside of the array.
    @inlinable
    public mutating func update(at index: Int, _ change: (inout Element) -> Void) {
        unsafe withUnsafeMutableBufferPointer { elements in
            if index >= 0 && index < elements.count { unsafe change(&elements[index]) }
        }
    }

    /// Puts `element` at `index`; nothing happens outside of the array.
    @inlinable
    public mutating func put(_ element: Element, at index: Int) { update(at: index) { $0 = element } }

    /// The elements in order. Array's own iterator leaves a bounds check in each turn of the loop.
    @inlinable
    public var each: EachElement<Element> { EachElement(self) }

    /// Pairs of position and element.
    @inlinable
    public var numbered: NumberedElement<Element> { NumberedElement(self) }

    /// The elements of all the lists that `list` makes of the elements. `flatMap` leaves checks of the array's own growth.
    @inlinable
    public func flattened<Part>(_ list: (Element) -> [Part]) -> [Part] {
        var all: [Part] = []
        for element in each {
            for part in list(element).each { all.append(part) }
        }
        return all
    }
}

/// What `Array.each` goes through.
public struct EachElement<Element>: Sequence, IteratorProtocol {
    @usableFromInline let elements: [Element]
    @usableFromInline var position = 0

    @inlinable
    init(_ elements: [Element]) { self.elements = elements }

    /// The next element.
    @inlinable
    public mutating func next() -> Element? {
        guard let element = elements.at(position) else { return nil }
        position &+= 1
        return element
    }
}

/// What `Array.numbered` goes through.
public struct NumberedElement<Element>: Sequence, IteratorProtocol {
    @usableFromInline let elements: [Element]
    @usableFromInline var position = 0

    @inlinable
    init(_ elements: [Element]) { self.elements = elements }

    /// The next position and its element.
    @inlinable
    public mutating func next() -> (offset: Int, element: Element)? {
        guard let element = elements.at(position) else { return nil }
        defer { position &+= 1 }
        return (position, element)
    }
}

extension Dictionary {
    /// Puts `value` under `key`, and gives what was there before.
    ///
    /// One place for the checks that come with every change of a dictionary (equal keys with unequal hashes, more elements than an
    /// `Int` counts), which no lawful key type can fail.
    @inlinable
    @inline(never)
    @discardableResult
    public mutating func put(_ value: Value, for key: Key) -> Value? { updateValue(value, forKey: key) }

    /// Takes out what stands under `key`, if anything.
    @inlinable
    @inline(never)
    public mutating func drop(_ key: Key) { removeValue(forKey: key) }

    /// The same keys with each value changed by `transform`. `mapValues` leaves checks of the dictionary's own storage.
    @inlinable
    public func withValues<New>(_ transform: (Value) -> New) -> [Key: New] {
        var changed: [Key: New] = [:]
        for key in Array(keys).each {
            if let value = self[key] { changed.put(transform(value), for: key) }
        }
        return changed
    }
}

/// The integers from 0 on that are below a count; none for a negative count, where `0..<count` would trap.
public struct Indices: Sequence, IteratorProtocol {
    @usableFromInline let count: Int
    @usableFromInline var position = 0

    /// The integers 0, 1, ... below `count`.
    @inlinable
    public init(below count: Int) { self.count = count }

    /// The next index.
    @inlinable
    public mutating func next() -> Int? {
        guard position < count else { return nil }
        defer { position &+= 1 }
        return position
    }
}

import CDiffAccel
import DiffTensor

@c @implementation
public func da_random_normal(_ seed: UInt64, _ count: Int, _ out: UnsafeMutablePointer<Float>?) -> Int32 {
    boundary { () throws(DiffError) in
        guard let out = try unsafe checked(count, out) else { return DA_OK }
        var generator = TorchRandom(seed: seed)
        unsafe generator.normal(out, count: count)
        return DA_OK
    }
}

@c @implementation
public func da_random_uniform(_ seed: UInt64, _ count: Int, _ out: UnsafeMutablePointer<Float>?) -> Int32 {
    boundary { () throws(DiffError) in
        guard let out = try unsafe checked(count, out) else { return DA_OK }
        var generator = TorchRandom(seed: seed)
        unsafe generator.uniform(out, count: count)
        return DA_OK
    }
}

@c @implementation
public func da_random_permutation(_ seed: UInt64, _ count: Int, _ out: UnsafeMutablePointer<Int64>?) -> Int32 {
    boundary { () throws(DiffError) in
        guard let out = try unsafe checked(count, out) else { return DA_OK }
        var generator = TorchRandom(seed: seed)
        unsafe generator.permutation(out, count: count)
        return DA_OK
    }
}

/// `out`, or nil when there is nothing to write.
private func checked<T>(_ count: Int, _ out: UnsafeMutablePointer<T>?) throws(DiffError) -> UnsafeMutablePointer<T>? {
    guard count >= 0, count <= 1 << 40 else { throw DiffError(.invalidArgument, "count is more than 2^40") }
    guard count > 0 else { return nil }
    guard let out = unsafe out else { throw DiffError(.invalidArgument, "out is null") }
    guard UInt(bitPattern: out) % UInt(MemoryLayout<T>.alignment) == 0 else {
        throw DiffError(.invalidArgument, "out is not aligned for its elements")
    }
    return unsafe out
}

import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

/// The caller's request as a Swift value: `length` bytes of JSON (none: no options) and named tensors. Everything is copied.
func sampleRequest(
    _ json: UnsafePointer<CChar>?, _ length: Int, _ tensors: UnsafePointer<da_tensor>?, _ count: Int
) throws(DiffError) -> SampleRequest {
    let source = try unsafe bytes(json, length, Limits.configBytes, "json")
    var request = SampleRequest()
    if source.count > 0 { request = try unsafe SampleRequest(JSON(parsing: source, source: "request")) }
    guard (0...64).contains(count), unsafe tensors != nil || count == 0 else {
        throw DiffError(.invalidArgument, "tensors: a request has 0...64, found \(count), or a null pointer")
    }
    guard count > 0, let tensors = unsafe tensors else { return request }
    var given = try unsafe elements(UnsafeMutablePointer(mutating: tensors), count).each
    while let pointer = unsafe given.next() {
        let tensor = try unsafe HostTensor(input: decode(UnsafePointer(pointer)))
        guard request.tensors[tensor.name] == nil else {
            throw DiffError(.invalidArgument, "the tensor \"\(tensor.name)\" is given twice")
        }
        request.tensors.put(try named(tensor), for: tensor.name)
    }
    return request
}

private func named(_ tensor: HostTensor) throws(DiffError) -> NamedTensor {
    switch tensor.dtype {
    case DA_F32: .floats(try tensor.tensor(nil))
    case DA_I64: .integers(try tensor.integers(limit: 1 << 20), tensor.shape)
    default: .bytes(try tensor.text(limit: Limits.configBytes))
    }
}

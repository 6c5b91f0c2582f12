public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

@c @implementation
public func da_result_tensor(
    _ result: da_result?, _ name: UnsafePointer<CChar>?, _ view: UnsafeMutablePointer<da_tensor>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let result = try unsafe HandleTable.object(result, .result, SampleResult.self)
        let target = try unsafe out(view, "view")
        let size = try unsafe decode(UnsafePointer(target)).struct_size
        var filled = try unsafe resultTensor(result, requiredText(name, "name"))
        unsafe filled.struct_size = size
        unsafe target.pointee = filled
        return DA_OK
    }
}

/// The result's tensor called `name`, as the caller sees it.
private func resultTensor(_ result: SampleResult, _ name: String) throws(DiffError) -> da_tensor {
    let tensor = try result.tensor(name)
    var view = unsafe da_tensor()
    unsafe view.name = tensor.cName
    unsafe view.data = tensor.raw
    let dtype =
        switch tensor.element {
        case .float32: DA_F32
        case .uint8: DA_U8
        case .int64: DA_I64
        }
    unsafe describe(&view, tensor.shape, dtype: dtype, bytes: tensor.byteCount)
    return unsafe view
}

@c @implementation
public func da_result_stats(
    _ result: da_result?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let result = try unsafe HandleTable.object(result, .result, SampleResult.self)
        return try unsafe emit(result.json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_result_close(_ result: da_result?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(result, .result)
        return DA_OK
    }
}

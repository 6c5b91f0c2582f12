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
    var view = unsafe da_tensor()
    switch name {
    case "latents":
        unsafe view.name = staticText("latents")
        unsafe view.data = result.latents.raw
        unsafe describe(&view, result.latents.shape, dtype: DA_F32, bytes: result.latents.byteCount)
    case "pixels":
        guard let pixels = result.pixels else { throw missing(name, result) }
        unsafe view.name = staticText("pixels")
        unsafe view.data = pixels.raw
        unsafe describe(&view, pixels.shape, dtype: DA_F32, bytes: pixels.byteCount)
    case "images":
        guard let images = result.images else { throw missing(name, result) }
        unsafe view.name = staticText("images")
        unsafe view.data = images.storage.base
        let shape = try Shape(images.count, images.height, images.width, images.channels)
        unsafe describe(&view, shape, dtype: DA_U8, bytes: images.byteCount)
    default: throw missing(name, result)
    }
    return unsafe view
}

private func missing(_ name: String, _ result: SampleResult) -> DiffError {
    let names = ["latents"] + (result.pixels == nil ? [] : ["pixels"]) + (result.images == nil ? [] : ["images"])
    return DiffError(.invalidArgument, "the result has no tensor \"\(name)\"; it has \(names.joined(separator: ", "))")
}

@c @implementation
public func da_result_stats(
    _ result: da_result?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let result = try unsafe HandleTable.object(result, .result, SampleResult.self)
        return try unsafe emit(result.statistics.json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_result_close(_ result: da_result?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(result, .result)
        return DA_OK
    }
}

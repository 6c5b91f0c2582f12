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
        return try unsafe fill(view) { () throws(DiffError) in try unsafe result.tensor(requiredText(name, "name")) }
    }
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

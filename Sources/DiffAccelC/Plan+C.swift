public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

/// A plan behind a handle.
final class PlanBox: Sendable {
    let plan: Plan
    init(_ plan: Plan) { self.plan = plan }
}

@c @implementation
public func da_plan_load(_ path: UnsafePointer<CChar>?, _ plan: UnsafeMutablePointer<da_plan?>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(plan) { () throws(DiffError) in try unsafe Plan(named: requiredText(path, "path")) }
    }
}

@c @implementation
public func da_plan_parse(
    _ json: UnsafePointer<CChar>?, _ length: Int, _ plan: UnsafeMutablePointer<da_plan?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(plan) { () throws(DiffError) in
            guard let json = unsafe json, length >= 1, length <= Plan.maxBytes else {
                throw DiffError(
                    .invalidArgument, "a plan needs 1...\(Plan.maxBytes) bytes of JSON or a rule, found \(length)")
            }
            return try unsafe Plan(text: UnsafeRawBufferPointer(start: json, count: length), source: "plan")
        }
    }
}

@c @implementation
public func da_plan_stack(_ first: da_plan?, _ second: da_plan?, _ plan: UnsafeMutablePointer<da_plan?>?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe store(plan) { () throws(DiffError) in
            let a = try unsafe HandleTable.object(first, .plan, PlanBox.self).plan
            let b = try unsafe HandleTable.object(second, .plan, PlanBox.self).plan
            return Plan(a.entries + b.entries)
        }
    }
}

@c @implementation
public func da_plan_describe(
    _ plan: da_plan?, _ model: da_model?, _ steps: Int32, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let plan = try unsafe HandleTable.object(plan, .plan, PlanBox.self).plan
        guard unsafe model != nil else { return try unsafe emit(plan.json.serialized(), buf, capacity, needed) }
        let target = try unsafe HandleTable.object(model, .model, Model.self)
        return try unsafe emit(
            target.preview(plan, steps: steps == 0 ? nil : Int(steps)).json.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_plan_save(_ plan: da_plan?, _ path: UnsafePointer<CChar>?) -> Int32 {
    boundary { () throws(DiffError) in
        let plan = try unsafe HandleTable.object(plan, .plan, PlanBox.self).plan
        try unsafe plan.save(to: requiredText(path, "path"))
        return DA_OK
    }
}

@c @implementation
public func da_plan_close(_ plan: da_plan?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(plan, .plan)
        return DA_OK
    }
}

/// Makes a plan and gives the caller its handle.
func store(
    _ pointer: UnsafeMutablePointer<da_plan?>?, _ make: () throws(DiffError) -> Plan
) throws(DiffError) -> Int32 {
    let target = try unsafe out(pointer, "plan")
    unsafe target.pointee = nil
    let handle = try HandleTable.insert(PlanBox(make()), .plan)
    unsafe target.pointee = HandleTable.pointer(handle)
    return DA_OK
}

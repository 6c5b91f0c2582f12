public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor

@c @implementation
public func da_model_open(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<da_model_options>?,
    _ model: UnsafeMutablePointer<da_model?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(model, "model")
        unsafe target.pointee = nil
        let decoded = try unsafe modelOptions(options)
        let opened = try unsafe Model(requiredText(path, "path"), decoded)
        unsafe target.pointee = HandleTable.pointer(try HandleTable.insert(opened, .model))
        return DA_OK
    }
}

func modelOptions(_ pointer: UnsafePointer<da_model_options>?) throws(DiffError) -> ModelOptions {
    let raw = try unsafe decode(pointer, or: da_model_options())
    var options = ModelOptions()
    unsafe options.weights = try weightType(raw.weights, widen: flag(raw.widen, "widen"))
    unsafe options.followLinks = try flag(raw.follow_links, "follow_links")
    unsafe options.family = try text(raw.family, "family")
    unsafe options.decoder = try text(raw.decoder, "decoder")
    unsafe options.memoryLimit = byteLimit(raw.memory_limit)
    if let config = try unsafe text(raw.config, "config", limit: Limits.configBytes) {
        options.config = try JSON(parsing: config, source: "options.config")
    }
    unsafe options.conventions = try text(raw.conventions, "conventions")
    unsafe options.maskToken = raw.mask_token == -1 ? nil : Int(raw.mask_token)
    if let settings = try unsafe text(raw.settings, "settings", limit: Limits.configBytes) {
        options.settings = try ModelSettings(JSON(parsing: settings, source: "options.settings"))
    }
    guard unsafe raw.reserved == 0 else { throw DiffError(.unsupported, "da_model_options.reserved must be zero") }
    return options
}

/// The type that `name` gives; `widen` is an earlier way to ask for f32.
private func weightType(_ name: UnsafePointer<CChar>?, widen: Bool) throws(DiffError) -> WeightType {
    guard let name = try unsafe text(name, "weights") else { return widen ? .f32 : .stored }
    guard let type = WeightType(rawValue: name) else {
        throw DiffError(.invalidArgument, "weights must be stored, f32 or int8, found \"\(name)\"")
    }
    guard !widen || type == .f32 else {
        throw DiffError(.invalidArgument, "weights are \(name), but widen asks for f32")
    }
    return type
}

@c @implementation
public func da_model_describe(
    _ model: da_model?, _ buf: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let model = try unsafe HandleTable.object(model, .model, Model.self)
        return try unsafe emit(model.description.serialized(), buf, capacity, needed)
    }
}

@c @implementation
public func da_model_close(_ model: da_model?) -> Int32 {
    boundary { () throws(DiffError) in
        try unsafe HandleTable.remove(model, .model)
        return DA_OK
    }
}

@c @implementation
public func da_model_forward(
    _ model: da_model?, _ inputs: UnsafePointer<da_tensor>?, _ input_count: Int,
    _ outputs: UnsafeMutablePointer<da_tensor>?, _ output_count: Int, _ options: UnsafePointer<da_forward_options>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let model = try unsafe HandleTable.object(model, .model, Model.self)
        let raw = try unsafe decode(options, or: da_forward_options())
        let limit = byteLimit(raw.memory_limit)
        let budget = try MemoryBudget(limit: limit)
        let named = try unsafe namedInputs(inputs, input_count, budget)
        let wanted = try unsafe ForwardOutputs(outputs, output_count)
        let fits = try wanted.accept(model.forwardShapes(named, wanted: wanted.names))
        if wanted.isSizeQuery { return DA_OK }
        if !fits { return DA_MORE }
        let results = try model.forward(
            named, wanted: wanted.names, threads: threadCount(raw.threads), memoryLimit: limit)
        wanted.store(results)
        return DA_OK
    }
}

private func namedInputs(
    _ inputs: UnsafePointer<da_tensor>?, _ count: Int, _ budget: MemoryBudget
) throws(DiffError) -> NamedInputs {
    guard (1...64).contains(count), let inputs = unsafe inputs else {
        throw DiffError(.invalidArgument, "a forward needs 1...64 inputs, found \(count)")
    }
    var named = NamedInputs()
    var given = try unsafe elements(UnsafeMutablePointer(mutating: inputs), count).each
    while let pointer = unsafe given.next() {
        let input = try unsafe HostTensor(input: decode(UnsafePointer(pointer)))
        guard named.tensors[input.name] == nil, named.integers[input.name] == nil else {
            throw DiffError(.invalidArgument, "the input \"\(input.name)\" is given twice")
        }
        switch input.dtype {
        case DA_F32: named.tensors.put(try input.tensor(budget), for: input.name)
        case DA_I64:
            named.integers.put(try input.integers(), for: input.name)
            named.extents.put(input.shape.dims, for: input.name)
        default: throw DiffError(.shape, "\(input.name): inputs are f32 or i64")
        }
    }
    return named
}

/// The caller's output buffers of a forward.
@safe
private struct ForwardOutputs {
    private let tensors: [UnsafeMutablePointer<da_tensor>]
    let names: [String]
    private let capacities: [Int]
    /// Whether no output has a buffer: only shapes are asked for.
    let isSizeQuery: Bool

    init(_ outputs: UnsafeMutablePointer<da_tensor>?, _ count: Int) throws(DiffError) {
        guard (1...64).contains(count), let outputs = unsafe outputs else {
            throw DiffError(.invalidArgument, "a forward needs 1...64 outputs, found \(count)")
        }
        var names: [String] = []
        var capacities: [Int] = []
        var buffers = 0
        let tensors = try unsafe elements(outputs, count)
        var pointers = unsafe tensors.each
        while let pointer = unsafe pointers.next() {
            let raw = try unsafe decode(UnsafePointer(pointer))
            let name = try unsafe requiredText(raw.name, "da_tensor.name")
            guard !names.contains(name) else {
                throw DiffError(.invalidArgument, "the output \"\(name)\" is asked for twice")
            }
            names.append(name)
            unsafe capacities.append(raw.data == nil ? 0 : raw.bytes)
            unsafe buffers &+= raw.data == nil ? 0 : 1
        }
        guard buffers == 0 || buffers == count else {
            throw DiffError(.invalidArgument, "either every output has a buffer or none")
        }
        unsafe self.tensors = tensors
        self.names = names
        self.capacities = capacities
        isSizeQuery = buffers == 0
    }

    /// Tells the caller the shapes; false when a buffer is too small.
    func accept(_ shapes: [String: Shape]) throws(DiffError) -> Bool {
        var fits = true
        for (index, name) in names.numbered {
            guard let shape = shapes[name], let target = unsafe tensors.at(index), let capacity = capacities.at(index)
            else { throw DiffError(.internal, "the output \"\(name)\" has no shape") }
            let bytes = shape.count &* 4
            unsafe describe(&target.pointee, shape, dtype: DA_F32, bytes: bytes)
            // As unsigned: a size_t beyond 2^63 arrives as a negative number.
            fits = fits && UInt(bitPattern: capacity) >= UInt(bitPattern: bytes)
        }
        return fits
    }

    func store(_ results: [String: Tensor]) {
        for (index, name) in names.numbered {
            guard let result = results[name], let from = unsafe result.raw, let target = unsafe tensors.at(index),
                let to = unsafe target.pointee.data
            else { continue }
            let bytes = result.byteCount
            if bytes > 0 { unsafe to.copyMemory(from: from, byteCount: bytes) }
        }
    }
}

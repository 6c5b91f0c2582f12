public import CDiffAccel
import DiffAccel
import DiffCheckpoint
import DiffTensor

extension da_text_request: VersionedStruct {
    static var typeName: String { "da_text_request" }
    static var earlierSizes: [Int] { [] }
    mutating func setDefaults() {
        let unset = TextRequest(prompts: [])
        unsafe (length, top_p, eps) = (Int32(clamping: unset.length), unset.topP, unset.eps)
        unsafe (temperature, guidance) = (unset.temperature, unset.guidance)
        unsafe (order_temperature, top_k, seed) = (unset.orderTemperature, Int32(clamping: unset.topK), unset.seed)
    }
}

@c @implementation
public func da_text_request_init(_ request: UnsafeMutablePointer<da_text_request>?, _ size: UInt32) -> Int32 {
    boundary { () throws(DiffError) in try unsafe initialise(request, size) }
}

@c @implementation
public func da_session_generate(
    _ session: da_session?, _ request: UnsafePointer<da_text_request>?, _ result: UnsafeMutablePointer<da_result?>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let target = try unsafe out(result, "result")
        unsafe target.pointee = nil
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let raw = try unsafe required(request)
        let host = unsafe TextHost(callback: raw.callback, user: raw.user)
        let generated = try unsafe session.sample(textRequest(raw)) { host.tell($0) }
        unsafe target.pointee = HandleTable.pointer(try HandleTable.insert(generated, .result))
        return DA_OK
    }
}

@c @implementation
public func da_session_generate_estimate(
    _ session: da_session?, _ request: UnsafePointer<da_text_request>?, _ buf: UnsafeMutablePointer<CChar>?,
    _ capacity: Int, _ needed: UnsafeMutablePointer<Int>?
) -> Int32 {
    boundary { () throws(DiffError) in
        let session = try unsafe HandleTable.object(session, .session, Session.self)
        let decoded = try unsafe textRequest(required(request))
        return try unsafe emit(session.estimate(decoded).json.serialized(), buf, capacity, needed)
    }
}

private func required(_ request: UnsafePointer<da_text_request>?) throws(DiffError) -> da_text_request {
    guard let request = unsafe request else { throw DiffError(.invalidArgument, "request is null") }
    return try unsafe decode(request)
}

/// The caller's request as a validated Swift value; arrays are copied.
private func textRequest(_ raw: da_text_request) throws(DiffError) -> SampleRequest {
    var text = TextRequest(prompts: try unsafe prompts(raw))
    unsafe text.length = Int(raw.length)
    unsafe text.steps = raw.steps == 0 ? nil : Int(raw.steps)
    unsafe text.blockLength = raw.block_length == 0 ? nil : Int(raw.block_length)
    text.order = try unsafe orderName(raw.order)
    unsafe (text.temperature, text.guidance) = (raw.temperature, raw.guidance)
    unsafe text.threshold = raw.threshold == 0 ? nil : raw.threshold
    unsafe (text.orderTemperature, text.topP, text.eps) = (raw.order_temperature, raw.top_p, raw.eps)
    unsafe (text.topK, text.seed) = (Int(raw.top_k), raw.seed)
    let flags = unsafe raw.flags
    guard flags & ~(DA_TEXT_ALLOW_MASK | DA_TEXT_NO_END | DA_TEXT_END_LAST | DA_TEXT_INFILL) == 0 else {
        throw DiffError(.invalidArgument, "flags: \(flags) has bits that are no DA_TEXT_*")
    }
    text.infills = flags & DA_TEXT_INFILL != 0
    text.forbidsMask = flags & DA_TEXT_ALLOW_MASK == 0
    (text.forbidsEnd, text.delaysEnd) = (flags & DA_TEXT_NO_END != 0, flags & DA_TEXT_END_LAST != 0)
    if let seeds = unsafe raw.seeds {
        let start = unsafe UnsafeRawPointer(seeds)
        text.seeds = Indices(below: text.prompts.count).map {
            unsafe start.loadUnaligned(fromByteOffset: $0 &* 8, as: UInt64.self)
        }
    }
    var request = SampleRequest()
    request.text = text
    return request
}

/// The optional text `order`.
private func orderName(_ pointer: UnsafePointer<CChar>?) throws(DiffError) -> String? {
    try unsafe text(pointer, "order")
}

/// The prompts, taken apart by their lengths.
private func prompts(_ raw: da_text_request) throws(DiffError) -> [[Int]] {
    let count = unsafe raw.prompt_count
    guard count >= 1, count <= SampleRequest.maxSamples, let lengths = unsafe raw.lengths else {
        throw DiffError(
            .invalidArgument, "a request needs lengths of 1...\(SampleRequest.maxSamples) prompts, found \(count)")
    }
    let start = unsafe UnsafeRawPointer(lengths)
    var (sizes, total): ([Int], Int) = ([], 0)
    for index in Indices(below: count) {
        let size = unsafe start.loadUnaligned(fromByteOffset: index &* 8, as: Int.self)
        guard size >= 0, size <= TextRequest.maxTokens else {
            throw DiffError(.invalidArgument, "prompt \(index) has \(UInt(bitPattern: size)) tokens")
        }
        sizes.append(size)
        total = Checked.sum(total, size)
    }
    let tokens = try unsafe integers(raw.tokens, total, TextRequest.maxTokens, "tokens")
    var (prompts, first): ([[Int]], Int) = ([], 0)
    for size in sizes.each {
        prompts.append(Indices(below: size).map { tokens.at(first &+ $0) ?? 0 })
        first &+= size
    }
    return prompts
}

/// The host's function for texts and its argument.
@safe
private struct TextHost {
    let callback: da_text_callback?
    let user: UnsafeMutableRawPointer?

    func tell(_ event: SampleEvent) -> SampleDecision {
        guard let callback = unsafe callback else { return .continue }
        for text in (event.text?.texts ?? []).each {
            let (sequence, revealed) = (text.sequence.map { Int64($0) }, text.revealed.map { Int64($0) })
            let goesOn = unsafe sequence.withUnsafeBufferPointer { sequence in
                unsafe revealed.withUnsafeBufferPointer { revealed in
                    var raw = unsafe da_text_event()
                    unsafe raw.struct_size = UInt32(MemoryLayout<da_text_event>.stride)
                    unsafe (raw.step, raw.steps) = (Int32(clamping: event.step), Int32(clamping: event.steps))
                    unsafe raw.prompt = Int32(clamping: text.prompt)
                    unsafe (raw.canvas, raw.canvas_count) = (sequence.baseAddress, sequence.count)
                    unsafe (raw.revealed, raw.revealed_count) = (revealed.baseAddress, revealed.count)
                    unsafe (raw.fed, raw.seconds) = (Int64(text.queries), event.seconds)
                    return unsafe callback(user, &raw) == 0
                }
            }
            if !goesOn { return .cancel }
        }
        return .continue
    }
}

import CDiffAccel
import DiffAccel
import DiffTensor

/// The caller's request to `session` as a validated Swift value. Arrays are copied, after their counts were compared with what
/// the request means: a wrong count must not make us read beyond the caller's buffer.
func sampleRequest(_ raw: da_request, to session: Session) throws(DiffError) -> SampleRequest {
    var request = SampleRequest()
    request.sampler = try unsafe text(raw.sampler, "sampler")
    unsafe request.steps = raw.steps == 0 ? nil : Int(raw.steps)
    request.spacing = try unsafe text(raw.spacing, "spacing")
    unsafe request.stepsOffset = Int(raw.steps_offset)
    unsafe request.eta = raw.eta
    unsafe request.seed = raw.seed
    request.labels = try unsafe labels(raw.labels, raw.label_count)
    unsafe request.guidance = raw.guidance.isNaN ? nil : raw.guidance
    unsafe request.decode = try flag(raw.decode, "decode")
    switch unsafe raw.guidance_channels {
    case 0: request.guidanceChannels = nil
    case -1: request.guidanceChannels = SampleRequest.allChannels
    case let count: request.guidanceChannels = Int(count)
    }
    switch unsafe raw.tile {
    case 0: request.tiling = .automatic
    case -1: request.tiling = .never
    case let side: request.tiling = .side(Int(side))
    }
    unsafe request.previews = try flag(raw.previews, "previews")
    request.scales = try unsafe scaleOptions(raw)
    guard unsafe raw.noise != nil || raw.step_noise != nil || raw.noise_count != 0 || raw.step_noise_count != 0 else {
        return request
    }
    let (state, draws) = try session.noiseShape(request)
    request.noise = try unsafe floats(raw.noise, raw.noise_count, "noise", state.count)
    let all = Checked.multiply(state.count, draws) ?? Int.max
    request.stepNoise = try unsafe floats(raw.step_noise, raw.step_noise_count, "step_noise", all)
    return request
}

/// The part of a request that models which work scale by scale read.
private func scaleOptions(_ raw: da_request) throws(DiffError) -> ScaleOptions {
    var options = ScaleOptions()
    let (topK, topKCount) = unsafe (raw.top_k, raw.top_k_count)
    options.topK = try unsafe list(topK.map { unsafe UnsafeRawPointer($0) }, topKCount, "top_k", 4) { (raw, offset) in
        Int(unsafe raw.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }
    let (temperature, temperatureCount) = unsafe (raw.temperature, raw.temperature_count)
    options.temperature = try unsafe list(
        temperature.map { unsafe UnsafeRawPointer($0) }, temperatureCount, "temperature", 8
    ) { (raw, offset) in unsafe raw.loadUnaligned(fromByteOffset: offset, as: Double.self) }
    unsafe options.topP = raw.top_p.isNaN ? nil : raw.top_p
    unsafe options.mixes = try flag(raw.smooth, "smooth")
    let count = unsafe raw.draws_count
    guard (0...1 << 32).contains(count) else {
        throw DiffError(.shape, "draws_count is \(UInt(bitPattern: count)), more than any request needs")
    }
    options.uniforms = try unsafe floats(raw.draws, count, "draws", count)
    options.known = try unsafe knownPicture(raw)
    return options
}

/// A picture of which a part is kept: square, as many as labels.
private func knownPicture(_ raw: da_request) throws(DiffError) -> KnownPicture? {
    let (samples, pixels) = unsafe (raw.label_count, raw.keeps_count)
    guard unsafe raw.image != nil || raw.keeps != nil || raw.image_count != 0 || pixels != 0 else { return nil }
    guard pixels > 0, pixels <= 1 << 32, samples > 0, let side = Checked.root(pixels / samples),
        side &* side &* samples == pixels
    else {
        throw DiffError(.shape, "keeps_count is \(UInt(bitPattern: pixels)), expected \(samples) squares")
    }
    let image = try unsafe floats(raw.image, raw.image_count, "image", 3 &* pixels)
    guard let image, let keeps = try unsafe floats(raw.keeps, pixels, "keeps", pixels) else {
        throw DiffError(.invalidArgument, "image and keeps are given together or not at all")
    }
    return KnownPicture(
        image: try image.reshaped(Shape(samples, 3, side, side)), keeps: try keeps.reshaped(Shape(samples, side, side)))
}

/// `count` numbers of `size` bytes each, at most 64: one for each scale.
private func list<T>(
    _ pointer: UnsafeRawPointer?, _ count: Int, _ name: String, _ size: Int, _ load: (UnsafeRawPointer, Int) -> T
) throws(DiffError) -> [T] {
    guard let pointer = unsafe pointer else {
        guard count == 0 else { throw DiffError(.invalidArgument, "\(name) is null but \(name)_count is \(count)") }
        return []
    }
    guard (1...64).contains(count) else {
        throw DiffError(.invalidArgument, "\(name)_count is \(UInt(bitPattern: count)), expected 1...64")
    }
    return Indices(below: count).map { unsafe load(pointer, $0 &* size) }
}

private func labels(_ pointer: UnsafePointer<Int64>?, _ count: Int) throws(DiffError) -> [Int] {
    guard count >= 1, count <= SampleRequest.maxSamples, let pointer = unsafe pointer else {
        throw DiffError(
            .invalidArgument, "labels: a request needs 1...\(SampleRequest.maxSamples) of them, found \(count)")
    }
    let raw = unsafe UnsafeRawPointer(pointer)
    var labels: [Int] = []
    for index in Indices(below: count) {
        unsafe labels.append(Int(raw.loadUnaligned(fromByteOffset: index &* 8, as: Int64.self)))
    }
    return labels
}

private func floats(
    _ pointer: UnsafePointer<Float>?, _ count: Int, _ name: String, _ expected: Int
) throws(DiffError) -> Tensor? {
    guard let pointer = unsafe pointer else {
        guard count == 0 else { throw DiffError(.invalidArgument, "\(name) is null but \(name)_count is \(count)") }
        return nil
    }
    guard count == expected else {
        throw DiffError(.shape, "\(name)_count is \(UInt(bitPattern: count)), the request needs \(expected)")
    }
    let tensor = try Tensor(uninitialized: Shape(count), budget: nil)
    let bytes = tensor.byteCount
    if bytes > 0 { unsafe tensor.raw?.copyMemory(from: pointer, byteCount: bytes) }
    return tensor
}

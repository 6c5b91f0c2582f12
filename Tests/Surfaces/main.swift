import DiffAccel

// One run with all defaults, for the comparison of the surfaces: the Swift counterpart of defaults.c, with the same arguments.

/// A line "name bytes" in hexadecimal.
func show(_ name: String, _ bytes: UnsafeRawBufferPointer) {
    print(name, bytes.map { String(0x100 + Int($0), radix: 16).dropFirst() }.joined())
}

func show(_ tensor: ResultTensor) {
    show(tensor.name, UnsafeRawBufferPointer(start: tensor.raw, count: tensor.byteCount))
}

let arguments = CommandLine.arguments
var options = ModelOptions()
if arguments.count > 3, !arguments[3].isEmpty { options.conventions = arguments[3] }
let model = try Model(arguments[2], options)
if arguments[1] == "latents" {
    var inputs = NamedInputs()
    inputs.tensors["latents"] = try Tensor((0..<256).map { Float($0 % 8 + 1) / 8 }, Shape(1, 4, 8, 8))
    guard let image = try model.forward(inputs)["image"] else { throw DiffError(.internal, "no image") }
    image.array.withUnsafeBytes { show("image", $0) }
} else {
    let numbers = arguments.dropFirst(5).compactMap { Int($0) }
    let session = try model.session(arguments[4].isEmpty ? Plan() : Plan(named: arguments[4]))
    let request =
        if arguments[1] == "draw" {
            SampleRequest(tensors: ["prompt": .bytes(numbers.map { UInt8(truncatingIfNeeded: $0) })])
        } else {
            SampleRequest(tensors: [arguments[1] == "generate" ? "tokens" : "labels": try .integers(numbers)])
        }
    let result = try session.sample(request)
    for tensor in result.tensors where ["latents", "images", "tokens"].contains(tensor.name) { show(tensor) }
    print("description", result)
}

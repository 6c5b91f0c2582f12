import DiffCheckpoint
import DiffTensor

/// A small `AutoencoderTiny` with random weights, under any of its published names.
public struct TinyTAESD: Sendable {
    public var encoderBlocks = [1, 2, 1], decoderBlocks = [2, 1, 1]
    public var encoderWidth = 8, decoderWidth = 12, latentChannels = 4, upsampling = 2
    public var scaling = 1.0, shift = 0.0
    public var seed: UInt64 = 1

    public init() {}

    public var config: JSON {
        func list(_ width: Int, _ count: Int) -> JSON { .array(Array(repeating: .integer(width), count: count)) }
        return .object([
            "_class_name": .string("AutoencoderTiny"), "latent_channels": .integer(latentChannels),
            "encoder_block_out_channels": list(encoderWidth, encoderBlocks.count),
            "decoder_block_out_channels": list(decoderWidth, decoderBlocks.count),
            "block_out_channels": list(decoderWidth, decoderBlocks.count),
            "num_encoder_blocks": .array(encoderBlocks.map { .integer($0) }),
            "num_decoder_blocks": .array(decoderBlocks.map { .integer($0) }),
            "upsampling_scaling_factor": .integer(upsampling), "scaling_factor": .number(scaling),
            "shift_factor": .number(shift), "act_fn": .string("relu"), "upsample_fn": .string("nearest"),
            "latent_magnitude": .integer(3), "latent_shift": .number(0.5), "force_upcast": .bool(false),
        ])
    }

    /// Names and extents of the diffusers layout.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        func convolution(_ name: String, _ inputs: Int, _ outputs: Int, bias: Bool = true) {
            shapes["\(name).weight"] = [outputs, inputs, 3, 3]
            if bias { shapes["\(name).bias"] = [outputs] }
        }
        func blocks(_ half: String, _ first: inout Int, _ count: Int, _ width: Int) {
            for _ in 0..<count {
                for part in [0, 2, 4] { convolution("\(half).layers.\(first).conv.\(part)", width, width) }
                first += 1
            }
        }
        var next = 0
        for (level, count) in encoderBlocks.enumerated() {
            convolution("encoder.layers.\(next)", level == 0 ? 3 : encoderWidth, encoderWidth, bias: level == 0)
            next += 1
            blocks("encoder", &next, count, encoderWidth)
        }
        convolution("encoder.layers.\(next)", encoderWidth, latentChannels)
        convolution("decoder.layers.0", latentChannels, decoderWidth)
        next = 2
        for (level, count) in decoderBlocks.enumerated() {
            let isLast = level == decoderBlocks.count - 1
            blocks("decoder", &next, count, decoderWidth)
            next += isLast ? 0 : 1
            convolution("decoder.layers.\(next)", decoderWidth, isLast ? 3 : decoderWidth, bias: isLast)
            next += 1
        }
        return shapes
    }

    /// Random weights under diffusers names.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.1) }

    /// The `half` ("encoder" or "decoder") of `tensors` as TAESD's own code names it, after `prefix`.
    public static func ownNames(_ tensors: [String: Tensor], half: String, prefix: String) -> [String: Tensor] {
        var out: [String: Tensor] = [:]
        for (name, tensor) in tensors where name.hasPrefix("\(half).layers.") {
            var parts = name.split(separator: ".").dropFirst(2).map(String.init)
            // The decoder's own code begins with a layer that has no weights.
            parts[0] = String((Int(parts[0]) ?? 0) + (half == "decoder" ? 1 : 0))
            out[prefix + parts.joined(separator: ".")] = tensor
        }
        return out
    }

    /// Writes the diffusers layout as a folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "taesd") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/diffusion_pytorch_model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}

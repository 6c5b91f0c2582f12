import DiffCheckpoint
import DiffTensor

/// A small HiFi-GAN vocoder with random weights under transformers' names.
public struct TinyVocoder: Sendable {
    public var bins = 6, channels = 16, rates = [5, 2], kernels = [16, 4], residualKernels = [3, 7]
    public var dilations = [[1, 3], [1, 2, 5]]
    public var normalises = false
    public var seed: UInt64 = 3

    public init() {}

    public var config: JSON {
        func list(_ values: [Int]) -> JSON { .array(values.map { .integer($0) }) }
        return .object([
            "model_type": .string("hifigan"), "architectures": .array([.string("SpeechT5HifiGan")]),
            "model_in_dim": .integer(bins), "sampling_rate": .integer(16000),
            "upsample_initial_channel": .integer(channels), "upsample_rates": list(rates),
            "upsample_kernel_sizes": list(kernels), "resblock_kernel_sizes": list(residualKernels),
            "resblock_dilation_sizes": .array(dilations.map(list)), "leaky_relu_slope": .number(0.1),
            "normalize_before": .bool(normalises),
        ])
    }

    /// Names and extents.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = ["mean": [bins], "scale": [bins]]
        func layer(_ name: String, _ dims: [Int], outputs: Int) {
            shapes["\(name).weight"] = dims
            shapes["\(name).bias"] = [outputs]
        }
        layer("conv_pre", [channels, bins, 7], outputs: channels)
        for stage in rates.indices {
            let (before, after) = (channels >> stage, channels >> (stage + 1))
            layer("upsampler.\(stage)", [before, after, kernels[stage]], outputs: after)
            for (index, kernel) in residualKernels.enumerated() {
                let block = "resblocks.\(stage * residualKernels.count + index)"
                for pair in dilations[index].indices {
                    layer("\(block).convs1.\(pair)", [after, after, kernel], outputs: after)
                    layer("\(block).convs2.\(pair)", [after, after, kernel], outputs: after)
                }
            }
        }
        layer("conv_post", [1, channels >> rates.count, 7], outputs: 1)
        return shapes
    }

    /// Random weights; the same for the same seed. Deviations of the spectrogram are positive.
    public func tensors() throws(DiffError) -> [String: Tensor] {
        var tensors = try tinyWeights(shapes, seed: seed, vectors: 0.3)
        tensors["scale"] = try Tensor((0..<bins).map { 0.5 + Float($0) / 4 }, Shape(bins))
        return tensors
    }

    /// Writes a model folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "vocoder") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}

import DiffCheckpoint
import DiffTensor

/// A small U-ViT with random weights under the published names.
public struct TinyUViT: Sendable {
    public var inputSize = 8, patchSize = 2, inChannels = 2, width = 24, depth = 4, heads = 2, classes = 5
    public var seed: UInt64 = 1

    public init() {}

    /// Attention and MLP of every block, the middle one included.
    public var sublayers: Int { 2 * (depth + 1) }

    /// Names and extents; the last class row stands for no class.
    public var shapes: [String: [Int]] {
        let (d, p, grid) = (width, patchSize, inputSize / patchSize)
        var shapes: [String: [Int]] = [
            "pos_embed": [1, 2 + grid * grid, d], "label_emb.weight": [classes + 1, d],
            "patch_embed.proj.weight": [d, inChannels, p, p], "patch_embed.proj.bias": [d],
            "norm.weight": [d], "norm.bias": [d],
            "decoder_pred.weight": [p * p * inChannels, d], "decoder_pred.bias": [p * p * inChannels],
            "final_layer.weight": [inChannels, inChannels, 3, 3], "final_layer.bias": [inChannels],
        ]
        let half = depth / 2
        let names = (0..<half).map { "in_blocks.\($0)" } + ["mid_block"] + (0..<half).map { "out_blocks.\($0)" }
        for name in names {
            for norm in ["norm1", "norm2"] {
                shapes["\(name).\(norm).weight"] = [d]
                shapes["\(name).\(norm).bias"] = [d]
            }
            var layers = [("attn.qkv", 3 * d, d), ("attn.proj", d, d), ("mlp.fc1", 4 * d, d), ("mlp.fc2", d, 4 * d)]
            if name.hasPrefix("out") { layers.append(("skip_linear", d, 2 * d)) }
            for (layer, outputs, inputs) in layers {
                shapes["\(name).\(layer).weight"] = [outputs, inputs]
                if layer != "attn.qkv" { shapes["\(name).\(layer).bias"] = [outputs] }
            }
        }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// `config.json` of a model that makes pixels.
    public var config: JSON {
        .object([
            "family": .string("uvit"), "output": .object(["kind": .string("pixels")]),
            "model": .object([
                "img_size": .integer(inputSize), "patch_size": .integer(patchSize), "in_chans": .integer(inChannels),
                "embed_dim": .integer(width), "depth": .integer(depth), "num_heads": .integer(heads),
                "num_classes": .integer(classes + 1), "null_class": .integer(classes), "conv": .bool(true),
                "mlp_time_embed": .bool(false),
            ]),
        ])
    }

    /// Writes a model folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "uvit") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}

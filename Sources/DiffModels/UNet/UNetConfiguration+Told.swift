import DiffCheckpoint
import DiffTensor

// What a U-Net is told beside the time.

extension UNetConfiguration {
    /// Pooled text and sizes of SDXL, where the config has them.
    static func addition(_ c: JSONObject) throws(DiffError) -> Addition? {
        let features = try c.optionalInteger("addition_time_embed_dim", in: 1...65536)
        let width = try c.optionalInteger("projection_class_embeddings_input_dim", in: 1...1_048_576)
        guard try c.optionalString("addition_embed_type", oneOf: ["text_time"]) != nil else { return nil }
        guard let features, let width, width > sizes &* features else {
            throw c.error(
                "addition_embed_type",
                "text_time needs addition_time_embed_dim and a projection_class_embeddings_input_dim above \(sizes) times that"
            )
        }
        return Addition(sizeFeatures: features, width: width)
    }

    /// The class vector of AudioLDM, where the config has one.
    static func classVector(_ c: JSONObject) throws(DiffError) -> ClassVector? {
        let isJoined = try c.bool("class_embeddings_concat", default: false)
        guard try c.optionalString("class_embed_type", oneOf: ["simple_projection"]) != nil else {
            guard !isJoined else {
                throw DiffError(
                    .unsupported,
                    "\(c.place(of: "class_embeddings_concat")): true without a class_embed_type; set it to false, or "
                        + "class_embed_type to simple_projection where the checkpoint has a class_embedding")
            }
            return nil
        }
        guard !c.has("addition_embed_type") else {
            throw DiffError(
                .unsupported,
                "\(c.place(of: "class_embed_type")): a class beside addition_embed_type: both would be of the width "
                    + "projection_class_embeddings_input_dim; only one of the two is supported")
        }
        guard let width = try c.optionalInteger("projection_class_embeddings_input_dim", in: 1...1_048_576) else {
            throw c.error("class_embed_type", "simple_projection needs projection_class_embeddings_input_dim")
        }
        return ClassVector(width: width, isJoined: isJoined)
    }
}

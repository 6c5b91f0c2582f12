import DiffCheckpoint
import DiffTensor

/// Rotary positions as configs write them: `rope_theta` by itself, in `rope_parameters` (newer transformers) or in `rope_scaling`.
///
/// Only plain rotary positions over whole heads are computed. Every other setting is refused by name, whichever key it stands in.
enum RotarySettings {
    /// The base that `c` states, `fallback` when it states none. Throws `format` when keys contradict each other or the base is missing,
    /// `unsupported` for scaled and partial positions.
    static func base(_ c: JSONObject, default fallback: Double?) throws(DiffError) -> Float {
        var stated: [Stated] = []
        try note("rope_theta", c, &stated)
        for key in ["rope_parameters", "rope_scaling"] {
            if let settings = try c.optionalObject(key) { try read(settings, &stated) }
        }
        for key in wholeHeads { try require(1, key, c) }
        guard let first = stated.first else {
            guard let fallback else {
                throw c.error("rope_theta", "missing; expected a number here or in rope_parameters")
            }
            // Asked for once more, so that the ledger has what was taken.
            return Float(try c.number("rope_theta", in: 1e-3...1e12, default: fallback))
        }
        for other in stated.each where other.value != first.value {
            throw DiffError(
                .format,
                "\(c.source): \(first.name) is \(first.value) and \(other.name) is \(other.value); keep the one that the model "
                    + "was trained with")
        }
        return Float(first.value)
    }

    private struct Stated {
        let name: String
        let value: Double
    }

    /// How positions are scaled: the key of today, and the one before it.
    private static let types = ["rope_type", "type"]
    /// The part of a head that turns.
    private static let wholeHeads = ["partial_rotary_factor", "rotary_pct"]
    /// Facts about training lengths, which plain positions do not depend on.
    private static let lengths = ["original_max_position_embeddings", "max_position_embeddings"]

    private static func read(_ settings: JSONObject, _ stated: inout [Stated]) throws(DiffError) {
        // The type first: it says more than the settings that come with it.
        for key in types {
            let type = try settings.string(key, default: "default")
            guard type == "default" else {
                throw DiffError(
                    .unsupported,
                    "\(settings.place).\(key) is \"\(type)\", and only \"default\" is computed; use the model as it was "
                        + "before its positions were scaled")
            }
        }
        for key in settings.keys.each where settings.has(key) && !types.contains(key) {
            switch key {
            case "rope_theta": try note(key, settings, &stated)
            case "factor": try require(1, key, settings)
            case let key where wholeHeads.contains(key): try require(1, key, settings)
            case let key where lengths.contains(key): continue
            case let key where key.hasSuffix("_attention"):
                // One entry for each type of layer: they must agree.
                try read(settings.object(key), &stated)
            default:
                throw DiffError(
                    .unsupported,
                    "\(settings.place).\(key) is not computed; plain positions have rope_theta and no more")
            }
        }
    }

    private static func note(_ key: String, _ c: JSONObject, _ stated: inout [Stated]) throws(DiffError) {
        guard let value = try c.optionalNumber(key, in: 1...1e12) else { return }
        stated.append(Stated(name: c.path.isEmpty ? key : "\(c.path).\(key)", value: value))
    }

    private static func require(_ wanted: Double, _ key: String, _ c: JSONObject) throws(DiffError) {
        guard let value = c.value(key), value.asDouble != wanted else { return }
        let place = c.path.isEmpty ? "\(c.place): \(key)" : "\(c.place).\(key)"
        throw DiffError(.unsupported, "\(place) must be 1: only plain rotary positions are computed")
    }
}

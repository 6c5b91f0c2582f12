import DiffCheckpoint
import DiffTensor

// Settings that a config says once, level by level, or layer by layer.

extension UNetConfiguration {
    /// Both ways and what is between them.
    static func levels(
        _ c: JSONObject, _ reading: Reading
    ) throws(DiffError) -> (down: [Level], up: [Level], middle: Middle) {
        let channels = try self.channels(c)
        let count = channels.count
        let layers = try perLevel(c, "layers_per_block", 1...64, [2], count)
        // What diffusers calls the dimension of a head is the number of heads.
        let heads = try perLevel(
            c, c.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim", 1...16384, [8], count)
        if c.has("num_attention_heads") { _ = c.value("attention_head_dim") }
        let downKinds = try downKinds(c, count)
        let upKinds = try kinds(c, "up_block_types", attends: "CrossAttnUpBlock2D", plain: "UpBlock2D", count)
        let downBlocks = try blocks(c, "transformer_layers_per_block", layers)
        let upBlocks = try upwardBlocks(c, layers, downBlocks)

        var (down, up): ([Level], [Level]) = ([], [])
        for level in Indices(below: count) {
            let back = count &- 1 &- level
            guard let own = layers.at(level), let theirs = layers.at(back) else { continue }
            down.append(
                Level(
                    channels: channels.at(level) ?? 0, heads: heads.at(level) ?? 1,
                    transformers: try transformers(c, own, downKinds.at(level), downBlocks.at(level)),
                    sources: reading.levels.at(level) ?? [], number: level))
            up.append(
                Level(
                    channels: channels.at(back) ?? 0, heads: heads.at(back) ?? 1,
                    transformers: try transformers(c, theirs &+ 1, upKinds.at(level), upBlocks.at(level)),
                    sources: reading.levels.at(back) ?? [], number: back))
        }
        return (down, up, try middle(c, downBlocks.last))
    }

    /// Channels of the levels, finest first.
    static func channels(_ c: JSONObject) throws(DiffError) -> [Int] {
        let channels = try c.integers("block_out_channels", in: 1...16384, default: [320, 640, 1280, 1280])
        guard (1...8).contains(channels.count) else {
            throw c.error("block_out_channels", "1 to 8 levels are supported, found \(channels.count)")
        }
        return channels
    }

    /// Which levels of the way down have transformers.
    static func downKinds(_ c: JSONObject, _ count: Int) throws(DiffError) -> [Bool] {
        try kinds(c, "down_block_types", attends: "CrossAttnDownBlock2D", plain: "DownBlock2D", count)
    }

    /// A number for all levels, or a list with one for each.
    static func perLevel(
        _ c: JSONObject, _ key: String, _ range: ClosedRange<Int>, _ fallback: [Int], _ count: Int
    ) throws(DiffError) -> [Int] {
        var values = try c.oneOrMoreIntegers(key, in: range)
        if case .array? = c.value(key) {
            guard values.count == count else { throw c.error(key, "\(values.count) values for \(count) levels") }
            return values
        }
        if values.isEmpty { values = fallback }
        return Array(repeating: values.first ?? 1, count: max(0, count))
    }

    /// Whether each level has transformers.
    private static func kinds(
        _ c: JSONObject, _ key: String, attends: String, plain: String, _ count: Int
    ) throws(DiffError) -> [Bool] {
        // By default all levels but the coarsest have.
        var published: [String] = []
        for level in Indices(below: count) {
            let isCoarsest = key == "up_block_types" ? level == 0 : level == count &- 1
            published.append(isCoarsest ? plain : attends)
        }
        let names = try c.strings(key, oneOf: [attends, plain], default: published)
        guard names.count == count else { throw c.error(key, "\(names.count) blocks for \(count) levels") }
        return names.each.map { $0 == attends }
    }

    /// Transformer blocks of the levels, a list with one number for all layers of a level or with one for each.
    private static func blocks(_ c: JSONObject, _ key: String, _ layers: [Int]) throws(DiffError) -> [[Int]] {
        guard case .array(let levels)? = c.value(key) else {
            let all = try c.integer(key, in: 0...256, default: 1)
            var same: [[Int]] = []
            for _ in layers.each { same.append([all]) }
            return same
        }
        guard levels.count == layers.count else {
            throw c.error(key, "\(levels.count) values for \(layers.count) levels")
        }
        var blocks: [[Int]] = []
        for (level, value) in levels.numbered {
            let elements: [JSON] = if case .array(let list) = value { list } else { [value] }
            var numbers: [Int] = []
            for element in elements.each where element != .null {
                guard let number = element.asInteger, (0...256).contains(number) else {
                    throw c.error("\(key)[\(level)]", "expected integers in 0...256, or lists of such")
                }
                numbers.append(number)
            }
            blocks.append(numbers)
        }
        return blocks
    }

    /// Those of the way up: of the way down from its end, unless the config says other ones.
    private static func upwardBlocks(_ c: JSONObject, _ layers: [Int], _ down: [[Int]]) throws(DiffError) -> [[Int]] {
        let key = "reverse_transformer_layers_per_block"
        if c.has(key) { return try blocks(c, key, layers) }
        if case .array(let levels)? = c.value("transformer_layers_per_block") {
            for level in levels.each {
                guard case .array = level else { continue }
                throw c.error(
                    "transformer_layers_per_block",
                    "numbers for each layer say nothing about the way up; give \(key) too")
            }
        }
        var up: [[Int]] = []
        for level in Indices(below: down.count) { up.append(down.at(down.count &- 1 &- level) ?? []) }
        return up
    }

    /// Blocks of the transformers of a level with so many layers.
    private static func transformers(
        _ c: JSONObject, _ layers: Int, _ attends: Bool?, _ blocks: [Int]?
    ) throws(DiffError) -> [Int?] {
        let numbers = blocks ?? []
        guard attends != true || numbers.count == 1 || numbers.count >= layers else {
            throw c.error("transformer_layers_per_block", "\(numbers.count) numbers for a level of \(layers) layers")
        }
        var counts: [Int?] = []
        for layer in Indices(below: layers) {
            counts.append(attends == true ? numbers.at(numbers.count == 1 ? 0 : layer) : nil)
        }
        return counts
    }

    private static func middle(_ c: JSONObject, _ coarsest: [Int]?) throws(DiffError) -> Middle {
        // Here null is a setting: no middle at all.
        if c.members["mid_block_type"] == .null { return .none }
        let attends = "UNetMidBlock2DCrossAttn"
        let kind = try c.string("mid_block_type", oneOf: [attends, "UNetMidBlock2D"], default: attends)
        return kind == attends ? .transformer(blocks: coarsest?.first ?? 1) : .resnet
    }
}

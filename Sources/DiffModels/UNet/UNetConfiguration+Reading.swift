import DiffCheckpoint
import DiffTensor

extension UNetConfiguration {
    /// What the transformers of each level read, of which there may be several after a resnet: `cross_attention_dim`.
    struct Reading {
        /// By level, finest first: one for each transformer after a resnet.
        let levels: [[Source]]
        /// Widths of the texts.
        let widths: [Int]
        let isAudioLDM2: Bool

        private static let key = "cross_attention_dim"

        /// - Parameter isToldClass: whether the network is told a class vector.
        init(_ c: JSONObject, isToldClass: Bool) throws(DiffError) {
            let count = try UNetConfiguration.channels(c).count
            var isNested = false
            if case .array(let levels)? = c.value(Self.key) {
                isNested = levels.each.contains { if case .array = $0 { true } else { false } }
            }
            isAudioLDM2 = isNested || c.value("_class_name") == .string("AudioLDM2UNet2DConditionModel")
            if isNested {
                try (levels, widths) = Self.stacks(c, count)
                return
            }
            let all = try UNetConfiguration.perLevel(c, Self.key, 1...65536, [1280], count)
            // Without a text the second attention sees the tokens, whose width must be the one that it was made for.
            if isToldClass, try Self.areWidths(all, c) {
                (levels, widths) = (Array(repeating: [.tokens], count: max(0, count)), [])
                return
            }
            guard let width = all.first, all.each.allSatisfy({ $0 == width }) else { throw Self.differentWidths(c) }
            (levels, widths) = (Array(repeating: [.text(0)], count: max(0, count)), [width])
        }

        /// Whether the levels with transformers are as wide as what these read.
        private static func areWidths(_ widths: [Int], _ c: JSONObject) throws(DiffError) -> Bool {
            let channels = try UNetConfiguration.channels(c)
            let kinds = try UNetConfiguration.downKinds(c, channels.count)
            for level in Indices(below: kinds.count) where kinds.at(level) == true {
                if widths.at(level) != channels.at(level) { return false }
            }
            return true
        }

        /// AudioLDM2: each level lists its transformers. Null is one that reads tokens twice; the first two read the first text, those
        /// behind them the second, whatever the width.
        private static func stacks(
            _ c: JSONObject, _ count: Int
        ) throws(DiffError) -> (levels: [[Source]], widths: [Int]) {
            guard case .array(let lists)? = c.value(key), lists.count == count else {
                throw c.error(key, "expected a list with one entry for each of \(count) levels")
            }
            var levels: [[Source]] = []
            var widths: [Int?] = [nil, nil]
            for (level, entry) in lists.numbered {
                let stacks: [JSON] = if case .array(let list) = entry { list } else { [entry] }
                guard (1...16).contains(stacks.count) else {
                    throw c.error(
                        "\(key)[\(level)]", "\(stacks.count) transformers after a resnet; 1 to 16 are supported")
                }
                var sources: [Source] = []
                for (position, stack) in stacks.numbered {
                    guard stack != .null else {
                        sources.append(.tokens)
                        continue
                    }
                    guard let width = stack.asInteger, (1...65536).contains(width) else {
                        throw c.error("\(key)[\(level)]", "expected null or widths in 1...65536")
                    }
                    let text = position <= 1 ? 0 : 1
                    guard (widths.at(text) ?? nil) ?? width == width else { throw differentWidths(c) }
                    widths.put(width, at: text)
                    sources.append(.text(text))
                }
                levels.append(sources)
            }
            guard let second = widths.at(1) ?? nil else { return (levels, (widths.at(0) ?? nil).map { [$0] } ?? []) }
            // Who reads the second text alone is given the first one all the same.
            return (levels, [(widths.at(0) ?? nil) ?? second, second])
        }

        private static func differentWidths(_ c: JSONObject) -> DiffError {
            DiffError(
                .unsupported,
                "\(c.place(of: key)): levels that read texts of different widths; only one width of each text is supported"
            )
        }
    }
}

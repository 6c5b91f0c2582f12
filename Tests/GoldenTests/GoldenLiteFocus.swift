import DiffCheckpoint
import DiffTensor

/// `litefocus_attn`: LiteFocus' attention with the recorded shared keys, and the dense one beside it.
enum GoldenLiteFocus {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        for (number, settings) in try fixture.config.objects("cases").enumerated() {
            try check("case\(number).", settings, fixture, &report)
        }
    }

    private static func check(
        _ key: String, _ settings: JSONObject, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        report.uses("\(key)q", "\(key)k", "\(key)v", "\(key)indices")
        let shape = try fixture.shape("\(key)q")
        let (batch, heads, tokens, dim) = (shape[0], shape[1], shape[2], shape[3])
        var fused = [Float](repeating: 0, count: 3 * shape.count)
        for (part, name) in ["q", "k", "v"].enumerated() {
            for (from, value) in try fixture.floats(key + name).enumerated() {
                let (sample, head) = (from / dim / tokens / heads, from / dim / tokens % heads)
                let row = sample * tokens + from / dim % tokens
                fused[((row * 3 + part) * heads + head) * dim + from % dim] = value
            }
        }
        /// [batch, tokens, heads, dim] as [batch, heads, tokens, dim].
        func byHead(_ x: Tensor) -> [Float] {
            let values = x.array
            return (0..<shape.count).map { to in
                let (sample, head) = (to / dim / tokens / heads, to / dim / tokens % heads)
                return values[((sample * tokens + to / dim % tokens) * heads + head) * dim + to % dim]
            }
        }
        let scale = try Float(settings.number("scale", in: 0...1e3))
        let groups = AttentionGroups(
            count: try settings.integer("f_n", in: 1...tokens), seesOwnKeys: try settings.bool("same_frequency"),
            shared: try fixture.integers("\(key)indices"))
        var layout = SiteLayout(family: "test")
        var call = try AttentionCall(
            site: layout.add("attn", .attention), qkv: Tensor(fused, Shape(batch, tokens, 3 * heads * dim)),
            heads: heads,
            scale: scale, spans: [AttentionSpan(first: 0, count: tokens, keys: tokens)])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try report.compare("\(key)dense_out", byHead(run.attention(call)), .absolute(2e-5))
        call.pattern = .groups(groups)
        try report.compare("\(key)out", byHead(run.attention(call)), .absolute(2e-5))
        try permutation(key, settings, fixture, &report)
    }

    /// torch's permutation, whose first entries are the shared keys.
    private static func permutation(
        _ key: String, _ settings: JSONObject, _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        var random = TorchRandom(seed: UInt64(try settings.integer("torch_seed", in: 0...Int.max)))
        var drawn = [Int64](repeating: 0, count: try settings.integer("tokens", in: 1...1 << 20))
        unsafe drawn.withUnsafeMutableBufferPointer { buffer in
            if let start = buffer.baseAddress { unsafe random.permutation(start, count: buffer.count) }
        }
        try report.compare("\(key)perm", integers: drawn.map(Int.init))
    }
}

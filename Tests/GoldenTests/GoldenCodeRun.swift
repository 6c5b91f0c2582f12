import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// Looks on at every block of every call: inputs and outputs by scale and site.
final class CodeProbe: Acceleration {
    private var names: [Int: String] = [:]
    private var inputs: [String: Tensor] = [:]
    private var outputs: [String: Tensor] = [:]

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        names = [:]
        var hooks = HookSet()
        for (network, layout) in context.layouts.enumerated() {
            for site in layout.sites(.block) {
                let asked = context.site(site, of: network)
                names[asked.number] = layout.info(site).name
                hooks.modules.insert(asked)
            }
        }
        return hooks
    }

    func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        let output = try compute()
        let key = "\(run.call.index) \(names[site.number] ?? "")"
        (self.inputs[key], outputs[key]) = (inputs.first, output.first)
        return output
    }

    func input(_ scale: Int, _ site: String) throws -> Tensor { try found(inputs["\(scale) \(site)"], site) }
    func output(_ scale: Int, _ site: String) throws -> Tensor { try found(outputs["\(scale) \(site)"], site) }

    private func found(_ tensor: Tensor?, _ site: String) throws -> Tensor {
        guard let tensor else { throw DiffError(.internal, "\(site) was not reached") }
        return tensor
    }
}

/// One run of the sampler with everything that fixtures record.
struct CodeRun {
    let parts: CodeFixture
    private(set) var logits: [Tensor] = []
    private(set) var kept: [[Int]] = []
    private(set) var tokens: [[Int]] = []
    private(set) var states: [Tensor] = []
    /// What each scale but the first saw.
    private(set) var views: [Tensor] = []
    /// Caches of all blocks of each network, as its last scale left them.
    private let caches: [[KeyValueBuffer?]]
    private let isMixed: Bool
    let image: Tensor

    init(
        _ parts: CodeFixture, _ networks: [VAR], _ options: CodeOptions, _ draws: ScaleDraws, _ probe: CodeProbe,
        draftScales: Int? = nil
    ) throws {
        self.parts = parts
        var methods: [any Acceleration] = [probe]
        if let draftScales { methods.append(CollaborativeDecoding(draftScales: draftScales)) }
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack(methods))
        let count = parts.schedule.count
        try run.begin(SamplingContext(layouts: networks.map(\.layout), calls: count, rows: 1))
        let choices = options.sampler.networks(run)
        let keeper = CacheKeeper(
            NextScaleNetworks(
                networks, parts.codes, labels: parts.labels, isGuided: true, choices: choices),
            networks)
        var (logits, kept, tokens, states) = ([Tensor](), [[Int]](), [[Int]](), [Tensor]())
        let state = try options.sampler.sample(keeper, draws, run) { (progress) throws(DiffError) in
            logits.append(progress.logits)
            kept.append(progress.kept)
            tokens.append(progress.tokens)
            states.append(progress.state)
        }
        (self.logits, self.kept, self.tokens, self.states) = (logits, kept, tokens, states)
        views = Array(keeper.inner.views.dropFirst())
        caches = keeper.caches
        isMixed = options.sampler.moreSmooth
        run.end()
        image = try parts.autoencoder.decode(state, run)
    }

    /// Compares with the keys of the case `name`; those that the fixture does not have are left out.
    func compare(_ name: String, _ report: inout GoldenReport) throws {
        let isSmooth = isMixed
        let maps = isSmooth ? CodeTolerance.smoothMaps : CodeTolerance.maps
        for scale in 0..<parts.schedule.count {
            try report.compare("\(name).idx.\(scale)", integers: tokens[scale])
            try report.compare("\(name).kept.\(scale)", integers: kept[scale])
            try report.compare(
                "\(name).logits.\(scale)", logits[scale], isSmooth ? CodeTolerance.smoothLogits : CodeTolerance.logits)
            if parts.fixture.has("\(name).f_hat.\(scale)") {
                try report.compare("\(name).f_hat.\(scale)", states[scale], maps)
            }
            if parts.fixture.has("\(name).next_map.\(scale)") {
                try report.compare("\(name).next_map.\(scale)", views[scale], maps)
            }
        }
        let images = isSmooth ? CodeTolerance.smoothImages : CodeTolerance.images
        try report.compare("\(name).img_raw", image, images)
        try report.compare("\(name).img", image.array.map { (min(max($0, -1), 1) + 1) / 2 }, images)
    }

    /// The keys or values that a key like `….cache_k.block0…` means.
    func cache(_ key: String, network: Int) -> Tensor? {
        guard let part = key.split(separator: ".").first(where: { $0.hasPrefix("block") }),
            let block = Int(part.dropFirst(5)), caches[network].indices.contains(block)
        else { return nil }
        let cache = caches[network][block]
        return key.contains("cache_k") ? cache?.keys : cache?.values
    }

    /// Views of the scales 1 ... `last` as rows, one after the other: what CoDe calls the token hub.
    func hub(through last: Int) throws -> [Float] {
        let run = Run(pool: nil, budget: nil)
        let batch = parts.labels.count
        let channels = parts.codes.channels
        let rows = try (1...last).map { try parts.codes.rows(views[$0 - 1], run) }
        return (0..<batch).flatMap { sample in
            rows.flatMap { part in
                let each = part.shape[1] * channels
                return part.array[sample * each..<(sample + 1) * each]
            }
        }
    }

    /// A cache [rows, tokens, heads · d] as [rows, heads, tokens, d].
    static func byHead(_ cache: Tensor, _ network: VAR, tokens: Int? = nil) -> [Float] {
        let (rows, all, width) = (cache.shape[0], cache.shape[1], cache.shape[2])
        let heads = network.configuration.heads
        let each = width / heads
        let values = cache.array
        return (0..<rows).flatMap { row in
            (0..<heads).flatMap { head in
                (0..<(tokens ?? all)).flatMap { token in
                    let at = (row * all + token) * width + head * each
                    return values[at..<at + each]
                }
            }
        }
    }
}

/// Holds on to the caches that the networks would give back.
private final class CacheKeeper: ScaleNetworks {
    let inner: NextScaleNetworks
    private(set) var caches: [[KeyValueBuffer?]]

    init(_ inner: NextScaleNetworks, _ networks: [VAR]) {
        (self.inner, caches) = (inner, networks.map { Array(repeating: nil, count: $0.configuration.depth) })
    }

    func logits(scale: Int, network: Int, guided: Bool, _ run: Run) throws(DiffError) -> Tensor {
        let logits = try inner.logits(scale: scale, network: network, guided: guided, run)
        for block in caches[network].indices {
            caches[network][block] = inner.context(network)?.buffer(ofBlock: block)
        }
        return logits
    }

    func take(_ tokens: [Int], scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        try inner.take(tokens, scale: scale, run)
    }

    func take(mixing weights: Tensor, scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        try inner.take(mixing: weights, scale: scale, run)
    }
}

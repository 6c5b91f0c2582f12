public import DiffModels
public import DiffSampling
public import DiffTensor

/// What a known image looks like in code space after each scale, and where it is kept.
public struct KnownStates {
    /// [n, channels, S, S] each
    public let states: [Tensor]
    /// [n, S, S]: 1 where the image is kept, else 0
    public let mask: Tensor

    /// The states of `picture`. Throws `unsupported` when the VQ-VAE has no encoder, `shape`.
    public init(_ picture: KnownPicture, _ autoencoder: VQVAE, _ run: Run) throws(DiffError) {
        let codes = autoencoder.codes
        states = try codes.encode(autoencoder.encode(picture.image, run), run).states
        let (n, side, from) = (picture.image.shape[0], codes.schedule.finest, picture.mask.shape)
        guard from.rank == 3, from[0] == n, from.count > 0 else {
            throw DiffError(.shape, "mask: \(from), expected [\(n), h, w]")
        }
        mask = try run.workspace.take(Shape(n, side, side))
        guard let to = unsafe mask.floats, let kept = unsafe picture.mask.floats else { return }
        for sample in Indices(below: n) {
            for y in Indices(below: side) {
                for x in Indices(below: side) {
                    let (row, column) = (y &* from[1] / max(1, side), x &* from[2] / max(1, side))
                    let value = unsafe kept[(sample &* from[1] &+ row) &* from[2] &+ column]
                    unsafe to[(sample &* side &+ y) &* side &+ x] = value == 0 ? 0 : 1
                }
            }
        }
    }
}

/// The networks of one next-scale run, with what they remember, and the image so far.
///
/// A network that is called for the first time after others reads all earlier scales from the views of the image in one pass.
/// One that has made its last scale gives its memory back. Used by one thread.
public final class NextScaleNetworks: ScaleNetworks {
    private let networks: [VAR]
    private let codes: ScaleQuantizer
    private let labels: [Int]
    private let isGuided: Bool
    private let known: KnownStates?
    /// The last scale each network makes; nil: none.
    private let lastScales: [Int?]
    private var contexts: [VARContext?]
    /// The image so far, [n, channels, S, S]; nil before the first scale.
    public private(set) var state: Tensor?
    /// What each scale sees of it, [n, channels, side, side]; the first scale sees nothing.
    public private(set) var views: [Tensor] = []

    /// The networks of a run in which `choices` says which one makes each scale, for samples of these labels, with unconditional
    /// rows when it `isGuided`; a part of the image may be `known`.
    public init(
        _ networks: [VAR], _ codes: ScaleQuantizer, labels: [Int], isGuided: Bool, choices: [Int],
        known: KnownStates? = nil
    ) {
        (self.networks, self.codes, self.labels, self.isGuided) = (networks, codes, labels, isGuided)
        self.known = known
        var last: [Int?] = networks.map { _ in nil }
        for (scale, network) in choices.numbered { last.put(scale, at: network) }
        lastScales = last
        contexts = Array(repeating: nil, count: networks.count)
    }

    /// What network `index` remembers now.
    public func context(_ index: Int) -> VARContext? { contexts.at(index) ?? nil }

    /// Logits of `scale` by network `index`, which first reads what it has not seen yet.
    public func logits(scale: Int, network index: Int, guided: Bool, _ run: Run) throws(DiffError) -> Tensor {
        guard let network = networks.at(index), scale == 0 || scale < views.count else {
            throw DiffError(.internal, "scale \(scale) by network \(index) of \(networks.count)")
        }
        let context = context(index) ?? start(network, index, run)
        let x = try tokens(for: network, from: context.position, through: scale, rows: context.labels, run)
        let z = try context.advance(x, through: scale &+ 1, wanting: scale, run)
        // Unconditional logits are not needed where guidance is still 0.
        return try network.logits(guided ? z : z.rows(0, labels.count), context, run)
    }

    /// The image with these tokens as the map of `scale`.
    public func take(_ tokens: [Int], scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        try take(map: codes.map(tokens, scale: scale, run), scale, run)
    }

    /// The image with mixtures of codes as the map of `scale`.
    public func take(mixing weights: Tensor, scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        try take(map: codes.map(mixing: weights, scale: scale, run), scale, run)
    }

    private func take(map: Tensor, _ scale: Int, _ run: Run) throws(DiffError) -> Tensor {
        let added = try codes.contribution(map, scale: scale, run)
        var sum = if let state { try run.add(state, added) } else { added }
        if let known, let kept = known.states.at(scale) { sum = try run.chosen(kept, sum, where: known.mask) }
        state = sum
        if scale &+ 1 < codes.schedule.count {
            if views.isEmpty { views.append(sum) }  // in place of what the first scale sees
            views.append(try codes.view(sum, at: scale &+ 1, run))
        }
        for (index, last) in lastScales.numbered where last ?? -1 <= scale { contexts.put(nil, at: index) }
        return sum
    }

    private func start(_ network: VAR, _ index: Int, _ run: Run) -> VARContext {
        let null = network.configuration.nullClass
        let rows = isGuided ? labels + labels.map { _ in null } : labels
        let last = (lastScales.at(index) ?? nil) ?? codes.schedule.count &- 1
        let context = VARContext(network, labels: rows, capacity: codes.schedule.offset(last &+ 1))
        contexts.put(context, at: index)
        return context
    }

    /// The tokens from number `position` on through `scale`, [rows, n, width]: from scale 1 on the same in both halves of a guided
    /// batch, embedded once.
    private func tokens(
        for network: VAR, from position: Int, through scale: Int, rows: [Int], _ run: Run
    ) throws(DiffError) -> Tensor {
        let schedule = codes.schedule
        guard let first = schedule.scales(in: position), first <= scale else {
            throw DiffError(.internal, "scale \(scale) after \(position) tokens")
        }
        let x = try run.workspace.take(
            Shape(rows.count, schedule.offset(scale &+ 1) &- position, network.configuration.width))
        if first == 0 { try run.storeTokens(network.firstTokens(rows, run), in: x, at: 0) }
        for next in Indices(below: scale &+ 1) where next >= max(1, first) {
            guard let view = views.at(next) else { throw DiffError(.internal, "no view for scale \(next)") }
            let embedded = try network.embedded(codes.rows(view, run), at: schedule.offset(next), run)
            for row in Indices(below: rows.count) where row % max(1, labels.count) == 0 {
                try run.storeTokens(embedded, in: x, row: row, at: schedule.offset(next) &- position)
            }
        }
        return x
    }
}

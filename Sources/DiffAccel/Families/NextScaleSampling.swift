import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Sampling scale by scale from a VAR and the codes of its VQ-VAE, alone or with a refiner.
struct NextScaleSampling: FamilySampling {
    let network: VAR
    let autoencoder: VQVAE?
    /// How the model was opened: its refiner is opened alike.
    let opening: ModelOptions
    /// The model's own guidance, top-k and top-p.
    let guidance: Double
    let topK: Int
    let topP: Double
    /// The second network of a plan, and its model.
    var refiner: VAR?
    var refinerBytes = 0

    var layouts: [SiteLayout] { [network.layout] + (refiner.map { [$0.layout] } ?? []) }
    var partnerBytes: Int { refinerBytes }

    /// Opens the refiner that `plan` names and checks that the two networks fit. Throws `unsupported` without a VQ-VAE.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling {
        _ = try codes
        guard let partner = try plan.partnerModel(options.partner, opening) else { return self }
        var paired = self
        paired.refiner = try locating(partner.place) { () throws(DiffError) in try fitting(partner.model) }
        paired.refinerBytes =
            partner.model.family.networkIdentity == ObjectIdentifier(network) ? 0 : partner.model.bytes
        return paired
    }

    /// The network of `partner`. Throws `incompatible` when the two cannot take turns.
    private func fitting(_ partner: Model) throws(DiffError) -> VAR {
        guard let offer = partner.family.nextScale else {
            throw DiffError(
                .incompatible,
                "the refiner is a \(partner.familyName) model, one that \(NetworkTrait.generatesScales) is needed")
        }
        let other = offer.network
        if let mine = autoencoder, let theirs = offer.autoencoder, !mine.codes.hasCodes(of: theirs.codes) {
            throw DiffError(
                .incompatible,
                "the refiner was made with the codes of another VQ-VAE: the one in its folder vae differs from the drafter's"
            )
        }
        let (a, b) = (network.configuration, other.configuration)
        let facts = [
            ("codes", a.vocabulary, b.vocabulary), ("channels of a code", a.codeChannels, b.codeChannels),
            ("classes", a.classes, b.classes),
        ]
        for (name, mine, theirs) in facts.each where mine != theirs {
            throw DiffError(.incompatible, "the drafter has \(mine) \(name), the refiner \(theirs)")
        }
        guard a.schedule == b.schedule else {
            throw DiffError(
                .incompatible, "the drafter has the scales \(a.schedule.sides), the refiner \(b.schedule.sides)")
        }
        return other
    }

    private var codes: VQVAE {
        get throws(DiffError) {
            guard let autoencoder else {
                throw DiffError(
                    .unsupported,
                    "a VAR cannot sample without its VQ-VAE: put it into a folder vae, or name it as decoder")
            }
            return autoencoder
        }
    }

    /// Checks `request` against the model. Throws `invalidArgument`, `shape` or `unsupported`.
    @inline(never)
    func job(_ request: SampleRequest) throws(DiffError) -> any SamplingJob {
        let codes = try codes
        guard request.noise == nil, request.stepNoise == nil else {
            throw DiffError(.unsupported, "var models start from no noise; give draws instead")
        }
        try check(request.labels)
        let schedule = network.configuration.schedule
        let options = request.scales
        let topK = try Self.each(options.topK, "top_k", schedule.count, default: self.topK)
        let temperatures = try Self.each(options.temperature, "temperature", schedule.count, default: 1)
        var steps: [ScaleStep] = []
        for (scale, side) in schedule.sides.numbered {
            let temperature = temperatures.at(scale) ?? 1
            guard let divisor = Checked.divisor(temperature) else {
                let allowed = Checked.divisors
                throw DiffError(
                    .invalidArgument,
                    "temperature must be \(allowed.lowerBound)...\(allowed.upperBound), found \(temperature); top_k 1 takes the most "
                        + "probable code")
            }
            steps.append(
                ScaleStep(
                    side: side,
                    truncation: Truncation(
                        topK: topK.at(scale) ?? 0, topP: options.topP ?? topP,
                        temperature: divisor)))
        }
        let sampler = try NextScaleSampler(steps, guidance: request.guidance ?? guidance, mixes: options.mixes)
        return NextScaleJob(
            networks: [network] + (refiner.map { [$0] } ?? []), autoencoder: codes, process: sampler,
            draws: try draws(request), labels: request.labels, decodes: request.decode, previews: request.previews,
            known: try known(request))
    }

    private func known(_ request: SampleRequest) throws(DiffError) -> KnownPicture? {
        guard let picture = request.scales.known else { return nil }
        let codes = try codes
        guard codes.hasEncoder else {
            throw DiffError(.unsupported, "a known picture needs the encoder, which this VQ-VAE was saved without")
        }
        let side = codes.codes.schedule.finest &* codes.configuration.factor
        let expected = try Shape(request.labels.count, 3, side, side)
        guard picture.image.shape == expected, picture.keeps.shape.rank == 3,
            picture.keeps.shape[0] == request.labels.count, picture.keeps.shape.count > 0
        else {
            throw DiffError(
                .shape,
                "known picture \(picture.image.shape) with a mask \(picture.keeps.shape), expected \(expected) with "
                    + "[\(request.labels.count), h, w]")
        }
        return picture
    }

    private func check(_ labels: [Int]) throws(DiffError) {
        guard (1...SampleRequest.maxSamples).contains(labels.count) else {
            throw DiffError(
                .invalidArgument, "a request needs 1...\(SampleRequest.maxSamples) labels, found \(labels.count)")
        }
        let null = network.configuration.nullClass
        for (index, label) in labels.numbered where label < 0 || label > null {
            throw DiffError(
                .invalidArgument, "label \(label) at position \(index) is outside 0...\(null) (\(null): none)")
        }
    }

    /// A value for each scale out of none, one, or one for each.
    private static func each<T>(
        _ values: [T], _ name: String, _ scales: Int, default fallback: T
    ) throws(DiffError) -> [T] {
        guard values.count > 1 else { return Array(repeating: values.first ?? fallback, count: scales) }
        guard values.count == scales else {
            throw DiffError(.invalidArgument, "\(name) needs 1 value or \(scales), found \(values.count)")
        }
        return values
    }

    private func draws(_ request: SampleRequest) throws(DiffError) -> ScaleDraws {
        guard let given = request.scales.uniforms else { return ScaleDraws(seed: request.seed) }
        let schedule = network.configuration.schedule
        let n = request.labels.count
        guard given.shape.count == n &* schedule.tokens else {
            throw DiffError(
                .shape,
                "draws: \(given.shape.count) values, expected \(n &* schedule.tokens) for [\(n), \(schedule.tokens)]")
        }
        let run = Run(pool: nil, budget: nil)
        let all = try given.reshaped(Shape(n, schedule.tokens, 1))
        var parts: [Tensor] = []
        for scale in Indices(below: schedule.count) {
            parts.append(try run.copy(run.tokens(all, schedule.offset(scale), schedule.length(scale))))
        }
        return ScaleDraws(uniforms: parts)
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(labels: [0])
        (request.guidance, request.decode) = (0, false)
        return request
    }

    /// Those of all scales of one picture without guidance.
    func flopsPerCall() throws(DiffError) -> Double {
        try DryRun(job(previewRequest(steps: nil)), Plan(), threads: 1).flops
    }
}

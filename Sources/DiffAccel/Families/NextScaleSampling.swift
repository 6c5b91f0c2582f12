import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Sampling scale by scale from a VAR and the codes of its VQ-VAE, alone or with a refiner.
struct NextScaleSampling: FamilySampling {
    let network: VAR
    let autoencoder: VQVAE?
    /// Names of the classes.
    let classes: ClassNames
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

    var form: RequestForm {
        let side = autoencoder.map { $0.codes.schedule.finest &* $0.configuration.factor }
        return ScaleRequest.form(
            network.configuration, classes, side: side, guidance: guidance, topK: topK, topP: topP)
    }

    /// Checks `asked` against the model. Throws `invalidArgument`, `shape` or `unsupported`.
    @inline(never)
    func job(_ asked: SampleRequest) throws(DiffError) -> any SamplingJob {
        let codes = try codes
        let reader = try RequestReader(asked, form)
        let request = try ScaleRequest(reader, network.configuration, classes)
        var steps: [ScaleStep] = []
        for (scale, side) in network.configuration.schedule.sides.numbered {
            let temperature = Float(request.temperature.at(scale) ?? 1)
            steps.append(
                ScaleStep(
                    side: side,
                    truncation: Truncation(
                        topK: request.topK.at(scale) ?? 0, topP: request.topP, temperature: temperature)))
        }
        let sampler = try NextScaleSampler(steps, guidance: request.guidance, moreSmooth: request.moreSmooth)
        return NextScaleJob(
            networks: [network] + (refiner.map { [$0] } ?? []), autoencoder: codes, process: sampler,
            draws: try draws(reader, request), labels: request.labels, decodes: request.decode,
            previews: request.previews, known: try known(reader, samples: request.labels.count))
    }

    private func known(_ reader: RequestReader, samples n: Int) throws(DiffError) -> KnownPicture? {
        let (image, mask) = (reader.floats("image"), reader.floats("mask"))
        guard image != nil || mask != nil else { return nil }
        guard let image, let mask else {
            throw DiffError(.invalidArgument, "request: image and mask are given together or not at all")
        }
        let codes = try codes
        guard codes.hasEncoder else {
            throw DiffError(.unsupported, "a known image needs the encoder, which this VQ-VAE was saved without")
        }
        let side = codes.codes.schedule.finest &* codes.configuration.factor
        let expected = try Shape(n, 3, side, side)
        guard image.shape == expected, mask.shape.rank == 3, mask.shape[0] == n, mask.shape.count > 0 else {
            throw DiffError(
                .shape,
                "request: an image \(image.shape) with a mask \(mask.shape), expected \(expected) with [\(n), h, w]")
        }
        return KnownPicture(image: image, mask: mask)
    }

    private func draws(_ reader: RequestReader, _ request: ScaleRequest) throws(DiffError) -> ScaleDraws {
        let schedule = network.configuration.schedule
        guard let given = try reader.floats("uniforms", Shape(request.labels.count, schedule.tokens)) else {
            return ScaleDraws(seed: request.seed)
        }
        let run = Run(pool: nil, budget: nil)
        let all = try given.reshaped(Shape(request.labels.count, schedule.tokens, 1))
        var parts: [Tensor] = []
        for scale in Indices(below: schedule.count) {
            parts.append(try run.copy(run.tokens(all, schedule.offset(scale), schedule.length(scale))))
        }
        return ScaleDraws(uniforms: parts)
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        SampleRequest(["labels": [0], "guidance": 0, "decode": false])
    }

    /// Those of all scales of one image without guidance.
    func flopsPerCall() throws(DiffError) -> Double {
        try DryRun(job(previewRequest(steps: nil)), Plan(), threads: 1).flops
    }
}

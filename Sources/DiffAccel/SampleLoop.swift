import DiffModels
import DiffSampling
import DiffTensor

/// One run of a session: denoising, then decoding, with bookkeeping around both.
struct SampleLoop {
    let sampling: ImageSampling
    let job: ImageSampling.Job
    let run: Run
    let budget: MemoryBudget
    let model: Model
    let plan: Plan

    func perform(
        decode: Bool, tile: Int?, _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) -> SampleResult {
        let began = Machine.seconds
        var statistics = SampleStatistics()
        statistics.threads = run.threads
        statistics.sampler = job.sampler.method == .ddpm ? "ddpm" : "ddim"
        statistics.weightBytes = model.bytes
        statistics.steps.reserveCapacity(job.sampler.calls)
        try job.noise.requireFinite(run)
        let state = try denoise(&statistics, began, observe)
        try run.requireFinite(state, "the sampler's last state (weights or inputs)")
        let latents = try owned(state)
        var pixels: Tensor?
        var images: ImageBatch?
        if decode, let decoder = sampling.decoder {
            let decodeBegan = Machine.seconds
            let decoded = try decoder.decode(latents, tile: tile, run) { (done) throws(DiffError) in
                let event = SampleEvent(
                    stage: .decode, step: done, steps: job.shape[0], timestep: nil, sites: SiteCounts(),
                    seconds: Machine.seconds - began, flops: 0, latents: nil)
                if observe(event) == .cancel { throw .cancelled }
            }
            images = try run.images(decoded, budget: budget)
            pixels = decoded.storage === latents.storage ? latents : try owned(decoded)
            statistics.decodeSeconds = Machine.seconds - decodeBegan
            statistics.decoderTile = tile
        }
        statistics.workspaceBytes = run.workspace.peakBytes
        statistics.peakBytes = budget.peak
        statistics.seconds = Machine.seconds - began
        return SampleResult(latents: latents, pixels: pixels, images: images, statistics: statistics)
    }

    private func denoise(
        _ statistics: inout SampleStatistics, _ began: Double, _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) -> Tensor {
        try run.workspace.reserve(Rehearsal(sampling, job, plan, threads: run.threads).workspace)
        try run.begin(sampling.opening(job))
        let sites = sampling.network.layout.sites(.attention, .mlp)
        var stepBegan = began
        var warmAllocations = 0
        let state = try sampling.sample(job, run) { (progress) throws(DiffError) in
            let now = Machine.seconds
            let counts = run.trace.counts(sites, call: progress.step)
            let flops = run.trace.flops.at(progress.step) ?? 0
            statistics.steps.append(
                SampleStatistics.Step(
                    timestep: progress.timestep, seconds: now - stepBegan, sites: counts, flops: flops))
            statistics.cacheBytes = max(statistics.cacheBytes, run.bytesHeld)
            if progress.step == 0 { warmAllocations = run.workspace.allocations }
            let event = SampleEvent(
                stage: .denoise, step: progress.step &+ 1, steps: progress.steps, timestep: progress.timestep,
                sites: counts, seconds: now - began, flops: flops, latents: progress.state)
            let decision = observe(event)
            #if CANARY
            // Nothing where the step that follows was expected.
            let following: Int? = decision == .cancel ? nil : progress.step + 1
            // swift-format-ignore: NeverForceUnwrap
            if Canary.step.isArmed { _ = following! }
            #endif
            if decision == .cancel { throw .cancelled }
            // A callback's own time is not the step's.
            stepBegan = Machine.seconds
        }
        statistics.allocationsAfterFirstStep = run.workspace.allocations &- warmAllocations
        // Caches and the step's workspace make room for the decoder.
        run.end()
        let kept = state
        run.workspace.trim()
        return kept
    }

    /// A copy outside the workspace, for the result to own.
    private func owned(_ x: Tensor) throws(DiffError) -> Tensor {
        let out = try Tensor(uninitialized: x.shape, budget: budget)
        if let from = unsafe x.floats, let to = unsafe out.floats {
            unsafe to.update(from: from, count: x.shape.count)
        }
        return out
    }
}

extension Trace {
    /// How often each outcome occurred among `sites` in `call`.
    func counts(_ sites: [Site], call: Int) -> SiteCounts {
        var counts = SiteCounts()
        for site in sites.each {
            switch outcome(site, call: call) {
            case .computed: counts.computed &+= 1
            case .reused: counts.reused &+= 1
            case .skipped: counts.skipped &+= 1
            }
        }
        return counts
    }
}

extension Run {
    /// `x` [n, C, H, W] in -1 ... 1 as 8-bit images [n, H, W, C], rounded half to even.
    func images(_ x: Tensor, budget: MemoryBudget?) throws(DiffError) -> ImageBatch {
        let storage = try Storage(byteCount: x.shape.count, budget: budget)
        try quantize(x, into: storage, scale: 127.5, offset: 127.5)
        return ImageBatch(
            count: x.shape[0], height: x.shape[2], width: x.shape[3], channels: x.shape[1], storage: storage)
    }
}

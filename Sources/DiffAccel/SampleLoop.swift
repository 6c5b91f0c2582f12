import DiffModels
import DiffSampling
import DiffTensor

/// One run of a session: the job's steps, then decoding, with bookkeeping around both.
struct SampleLoop {
    let job: any SamplingJob
    let run: Run
    let budget: MemoryBudget
    /// What the run will do and take.
    let dryRun: DryRun
    let weightBytes: Int
    /// The processes that share the calls; nil: there is one.
    var ranks: RankShare?

    func perform(tile: Int?, _ observe: (SampleEvent) -> SampleDecision) throws(DiffError) -> SampleResult {
        let began = Machine.seconds
        var statistics = SampleStatistics()
        (statistics.threads, statistics.precision) = (run.threads, run.precision)
        statistics.sampler = job.sampler
        statistics.parameters = job.parameters
        statistics.sampleRate = job.sampleRate
        statistics.weightBytes = weightBytes
        statistics.steps.reserveCapacity(job.context.calls.limit)
        try job.requireFinite(run)
        let output = try steps(&statistics, began, observe)
        var tensors: [ResultTensor] = []
        if let state = output.latents {
            let latents = try owned(state)
            tensors.append(ResultTensor("latents", latents))
            if let decoder = job.decoder(on: ranks) {
                tensors += try decode(latents, decoder, tile, &statistics, began, observe)
            }
        }
        tensors += output.others
        statistics.workspaceBytes = run.workspace.peakBytes
        statistics.peakBytes = budget.peak
        statistics.seconds = Machine.seconds - began
        return SampleResult(tensors, statistics)
    }

    /// What `latents` become.
    private func decode(
        _ latents: Tensor, _ decoder: any StateDecoder, _ tile: Int?, _ statistics: inout SampleStatistics,
        _ began: Double, _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) -> [ResultTensor] {
        let decodeBegan = Machine.seconds
        var told = 0
        let decoded = try run.shared(by: decoder.isShared ? ranks : nil) { () throws(DiffError) in
            try decoder.decode(latents, tile: tile, run) { (progress) throws(DiffError) in
                let done = dryRun.decoding.progress.at(told) ?? dryRun.decoding.flops
                told &+= 1
                var event = SampleEvent(
                    stage: progress.stage, step: progress.done, steps: progress.count,
                    fraction: fraction(dryRun.encodingFlops + dryRun.flops + done), seconds: Machine.seconds - began)
                event.audio = progress.audio
                if observe(event) == .cancel { throw .cancelled }
            }
        }
        var kept: [Tensor] = []
        for tensor in decoded.each {
            kept.append(tensor.storage === latents.storage ? latents : try owned(tensor))
        }
        let tensors = try decoder.results(kept, run, budget: budget)
        statistics.decodeSeconds = Machine.seconds - decodeBegan
        statistics.decoderTile = tile
        return tensors
    }

    private func steps(
        _ statistics: inout SampleStatistics, _ began: Double, _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) -> SamplingOutput {
        try makeRoom()
        var context = job.context
        context.ranks = ranks
        try run.begin(context)
        let sites = context.layouts.indices.map { context.sites(of: $0, .attention, .mlp) }
        var stepBegan = began
        var (warmAllocations, done) = (0, 0.0)
        let output = try job.perform(run) { (progress) throws(DiffError) in
            if progress.stage == .encode {
                done = progress.flops
                statistics.encodeSeconds = Machine.seconds - began
                try encoded(statistics.encodeSeconds, done, observe)
                stepBegan = Machine.seconds
                return
            }
            // In every step, so that the error names the one it arose in, and a hopeless run ends there.
            if let state = progress.state { try run.requireFinite(state, place(of: progress)) }
            let now = Machine.seconds
            let counts = run.trace.counts(sites.at(progress.network) ?? [], call: progress.call)
            let flops = run.trace.flops.at(progress.call) ?? 0
            statistics.steps.append(
                SampleStatistics.Step(
                    timestep: progress.timestep, network: progress.network, seconds: now - stepBegan, sites: counts,
                    flops: flops, queryRows: progress.text?.queryRows ?? 0, headRows: progress.text?.headRows ?? 0))
            statistics.cacheBytes = max(statistics.cacheBytes, Checked.sum(run.bytesHeld, progress.heldBytes))
            if progress.call == 0 { warmAllocations = run.workspace.allocations }
            // What a sampler does between the calls is in none of them, but in the whole.
            done = progress.call &+ 1 == progress.calls ? dryRun.encodingFlops + dryRun.flops : done + flops
            let event = SampleEvent(
                stage: job.stage, step: progress.call &+ 1, steps: progress.calls, fraction: fraction(done),
                seconds: now - began, timestep: progress.timestep, sites: counts, flops: flops,
                network: progress.network, latents: progress.state, preview: progress.preview, text: progress.text)
            let decision = observe(event)
            #if CANARY
            // Nothing where the step that follows was expected.
            let following: Int? = decision == .cancel ? nil : progress.call + 1
            // swift-format-ignore: NeverForceUnwrap
            if Canary.step.isArmed { _ = following! }
            #endif
            if decision == .cancel { throw .cancelled }
            // A callback's own time is not the step's.
            stepBegan = Machine.seconds
        }
        statistics.allocationsAfterFirstStep = run.workspace.allocations &- warmAllocations
        statistics.components = run.components
        // Caches and the step's workspace make room for the decoder.
        run.end()
        let kept = output
        run.workspace.trim()
        return kept
    }

    /// After encoders of `flops` operations: their memory makes room for the steps'.
    private func encoded(
        _ seconds: Double, _ flops: Double, _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) {
        run.workspace.trim()
        if job.stepsAreAlike { try run.workspace.reserve(dryRun.workspace) }
        let event = SampleEvent(stage: .encode, step: 1, steps: 1, fraction: fraction(flops), seconds: seconds)
        if observe(event) == .cancel { throw .cancelled }
    }

    /// These operations as a share of the whole run's.
    private func fraction(_ flops: Double) -> Double {
        let all = dryRun.encodingFlops + dryRun.flops + dryRun.decoding.flops
        return all > 0 ? min(1, flops / all) : 1
    }

    /// What a step's state is made of, for an error.
    private func place(of progress: SamplingProgress) -> String {
        let step = "step \(progress.call &+ 1) of \(progress.calls)"
        switch job.stage {
        case .scale: return "the picture in code space after \(step) (the codes of the VQ-VAE)"
        default: return "the network's output in \(step), timestep \(progress.timestep) (weights or inputs)"
        }
    }

    /// Takes all memory before the first step, or at least sees that it will fit: a run that cannot fit its limit does not start.
    private func makeRoom() throws(DiffError) {
        if job.stepsAreAlike, !job.encodes { return try run.workspace.reserve(dryRun.workspace) }
        let needed = Checked.sum(dryRun.workspace.peakBytes, dryRun.resultBytes)
        guard budget.limit == 0 || Checked.sum(needed, budget.used) <= budget.limit else {
            throw DiffError(
                .overBudget,
                "the run needs \(needed) bytes, the memory limit is \(budget.limit) (\(budget.used) used)")
        }
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

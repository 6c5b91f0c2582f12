import DiffAcceleration
import DiffCheckpoint
import DiffSampling
import DiffTensor

/// The processes of one run of a session, seen from one of them.
struct SessionRanks {
    private let group: RankGroup
    private let ranks: RankRun
    private let members: Int

    /// Whether a run of `request` under `plan` is made by several processes.
    static func areNeeded(_ plan: Plan, _ request: SampleRequest) -> Bool {
        plan.ranked != nil || sharesRows(request)
    }

    private static func sharesRows(_ request: SampleRequest) -> Bool {
        request["guidance_execution"] == Guidance.Execution.ranks.rawValue
    }

    /// Begins a run, which all processes do. Throws `unsupported` when there are not as many as are needed, `incompatible` when they do not
    /// have the same model, plan and request, and what joining throws.
    init(
        _ model: Model, _ plan: Plan, _ request: SampleRequest, _ options: SessionOptions, _ cancel: CancelFlag
    ) throws(DiffError) {
        group = if let given = options.ranks { given } else { try Ranks.join(cancel: cancel) }
        members = plan.ranked?.rankMembers ?? 1
        var asked = RankRunOptions(timeout: options.rankTimeout, cancel: cancel)
        do throws(DiffError) {
            try Self.check(group.count, members, sharesRows: Self.sharesRows(request))
            asked.facts = try RankFacts.of(model) + RankFacts.of(plan, request)
        } catch {
            // The others would wait for this one.
            group.decline(error)
            throw error
        }
        asked.wire = plan.ranked?.wire ?? .f32
        ranks = try group.begin(asked)
    }

    private static func check(_ count: Int, _ members: Int, sharesRows: Bool) throws(DiffError) {
        guard count % max(1, members) == 0, sharesRows || count == members else {
            let several = sharesRows ? "a multiple of \(members)" : "\(members)"
            let remedy =
                !sharesRows && count % max(1, members) == 0
                ? "; with \"guidance_execution\": \"ranks\" groups of \(members) share the rows of every call" : ""
            throw DiffError(
                .unsupported,
                "the run needs \(several) ranks, and \(count) were started (mpirun -n \(members))\(remedy)")
        }
    }

    /// Calls `body` with the share of this process, and ends the run on all of them. Throws what ended it.
    func perform(_ body: (RankShare) throws(DiffError) -> SampleResult) throws(DiffError) -> SampleResult {
        let result: SampleResult
        do throws(DiffError) {
            result = try told(body(RankShare(ranks, members: members)))
        } catch {
            throw ranks.failed(error)
        }
        try ranks.end()
        return result
    }

    /// `result` with what all processes took.
    private func told(_ result: SampleResult) throws(DiffError) -> SampleResult {
        var statistics = result.statistics
        let own = RankStatistics(
            weightBytes: statistics.weightBytes, peakBytes: statistics.peakBytes, sentBytes: ranks.bytesSent)
        statistics.rank = ranks.rank
        for bytes in try ranks.share(Array(own.json.serialized().utf8)).each {
            statistics.ranks.append(try RankStatistics(bytes: bytes))
        }
        return SampleResult(result.tensors, statistics)
    }
}

extension SampleRequest {
    /// The same without previews.
    var withoutPreviews: SampleRequest {
        var request = self
        request.options.drop("previews")
        return request
    }
}

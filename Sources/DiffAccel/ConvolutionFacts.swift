import DiffAcceleration
import DiffCheckpoint
import DiffTensor

/// What a model and an estimate say of convolutions: how each is computed, as the choice for its sizes was.
extension ConvolutionCensus {
    /// How many there are of each form.
    var counts: [ConvolutionForm: Int] {
        var counts: [ConvolutionForm: Int] = [:]
        for form in ConvolutionForm.allCases.each { counts.put(count(form), for: form) }
        return counts
    }

    /// The counts, and every convolution with its output at the sizes of this census; nil when there are none.
    var json: JSON? {
        guard !convolutions.isEmpty else { return nil }
        return .object(["forms": .counts(counts), "layers": .array(convolutions.each.map { $0.json })])
    }
}

extension CountedConvolution {
    fileprivate var json: JSON {
        var members: [String: JSON] = [:]
        members.put(.string(name), for: "name")
        members.put(.string(form.rawValue), for: "form")
        if let reason { members.put(.string(reason.rawValue), for: "because") }
        members.put(.integer(inputs), for: "inputs")
        members.put(.integer(kernel), for: "kernel")
        members.put(.array([.integer(channels), .integer(height), .integer(width)]), for: "output")
        return .object(members)
    }
}

extension JSON {
    /// Numbers by the name of a form.
    static func counts(_ counts: [ConvolutionForm: Int]) -> JSON {
        var members: [String: JSON] = [:]
        for form in ConvolutionForm.allCases.each { members.put(.integer(counts[form] ?? 0), for: form.rawValue) }
        return .object(members)
    }
}

extension ModelFamily {
    /// The convolutions of a request that says nothing of sizes, its decoding included; where there is none that needs nothing else, those of
    /// one evaluation. Nil when there is neither.
    var convolutions: ConvolutionCensus? {
        let (census, alone) = (ConvolutionCensus(), ConvolutionCensus())
        if let sampling, (try? sampling.count(census)) != nil { return census }
        let run = Run(dryOn: 1, census: alone)
        do throws(DiffError) {
            try run.begin(SamplingContext(layouts: layouts, calls: 1, rows: 1))
            try evaluate(dry: run)
        } catch { return nil }
        return alone
    }
}

extension FamilySampling {
    /// Notes the convolutions of a run of few steps in `census`.
    fileprivate func count(_ census: ConvolutionCensus) throws(DiffError) {
        var request = previewRequest(steps: 2)
        if request["decode"] == JSON.bool(false) { request["decode"] = .bool(true) }
        _ = try DryRun(job(request), Plan(), threads: 1, census: census)
    }
}

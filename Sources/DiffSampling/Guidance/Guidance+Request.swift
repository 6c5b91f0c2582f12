public import DiffTensor

extension Guidance {
    /// What a request for a denoiser of `networkChannels` channels says: a `scale`, how many `channels` are guided, and the names of the
    /// options for the rest; an empty `interval` is all of the run, no `execution` is batched.
    ///
    /// Throws `invalidArgument` that names `guidance`, `guidance_channels`, `guidance_rescale`, `guidance_interval` or `guidance_execution`.
    public init(
        scale: Double, channels: Int, of networkChannels: Int, rescale: Double = 0, interval: [Double] = [],
        execution: String? = nil
    ) throws(DiffError) {
        guard (0...1000).contains(scale) else {
            throw DiffError(.invalidArgument, "guidance must be 0...1000, found \(scale)")
        }
        guard channels >= 1, channels <= networkChannels else {
            throw DiffError(.invalidArgument, "guidance_channels must be 1...\(networkChannels), found \(channels)")
        }
        try self.init(
            scale: scale, channels: .leading(channels), rescale: rescale, interval: Self.interval(interval),
            execution: Self.execution(execution))
    }

    private static func interval(_ fractions: [Double]) throws(DiffError) -> GuidanceInterval {
        guard !fractions.isEmpty else { return .always }
        guard fractions.count == 2, let from = fractions.at(0), let to = fractions.at(1) else {
            throw DiffError(
                .invalidArgument, "guidance_interval must be two fractions of the run, found \(fractions.count) numbers"
            )
        }
        return try GuidanceInterval(from: from, to: to)
    }

    private static func execution(_ name: String?) throws(DiffError) -> Execution {
        guard let name else { return .batched }
        guard let execution = Execution(rawValue: name) else {
            let names = Execution.allCases.map(\.rawValue).joined(separator: ", ")
            throw DiffError(
                .invalidArgument, "guidance_execution must be one of \(names); found \"\(name.prefix(100))\"")
        }
        return execution
    }
}

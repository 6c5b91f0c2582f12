import DiffTensor

/// Where masked decoding takes its random numbers from: a seed for the batch, a seed per sample, or arrays of the caller.
///
/// With one seed for the batch the draws are those of the published code on torch's CPU generator. With a seed per sample each sample
/// draws as if it were alone, so that a batch equals its samples run singly.
public struct DecodingNoise: Sendable {
    private enum Source: Sendable {
        case shared(TorchRandom)
        case own([TorchRandom])
        case given
    }

    private var source: Source
    private var uniforms: [Float] = []
    private var doubles: [Double] = []
    private var exponentials: [Float] = []
    private var used = (uniforms: 0, doubles: 0, exponentials: 0)

    /// Draws from one seed, shared by the batch.
    public init(seed: UInt64) { source = .shared(TorchRandom(seed: seed)) }

    /// Draws from a seed per sample.
    public init(seeds: [UInt64]) { source = .own(seeds.map { TorchRandom(seed: $0) }) }

    /// Draws given in the order in which they are used: uniform values in [0, 1) (the order of random remasking; which positions Dream's
    /// `origin` reveals), uniform values of Gumbel noise, exponential values (Dream's sampling).
    public init(uniforms: [Float] = [], gumbel: [Double] = [], exponentials: [Float] = []) {
        source = .given
        (self.uniforms, doubles, self.exponentials) = (uniforms, gumbel, exponentials)
    }

    /// Draws `body` from the generator of `sample`; nil when draws are given.
    private mutating func draw<T>(_ sample: Int, _ body: (inout TorchRandom) -> T) throws(DiffError) -> T? {
        switch source {
        case .given: return nil
        case .shared(var generator):
            source = .given  // so that the generator is changed in position
            defer { source = .shared(generator) }
            return body(&generator)
        case .own(var generators):
            guard var generator = generators.at(sample) else {
                throw DiffError(.invalidArgument, "\(generators.count) seeds, and none for sample \(sample)")
            }
            source = .given
            defer { source = .own(generators) }
            let result = body(&generator)
            if generators.indices.contains(sample) { generators[sample] = generator }
            return result
        }
    }

    private static let exhausted = DiffError(.invalidArgument, "the noise given ends before the generation does")

    /// `count` uniform values of 24 bits.
    mutating func uniform(_ sample: Int, _ count: Int) throws(DiffError) -> [Float] {
        if let values = try draw(sample, { generator in Indices(below: count).map { _ in generator.uniformFloat() } }) {
            return values
        }
        let start = used.uniforms
        guard count >= 0, count <= uniforms.count &- start else { throw Self.exhausted }
        used.uniforms = start &+ count
        return Array(uniforms.dropFirst(start).prefix(count))
    }

    /// `count` uniform values of 53 bits into `out`; none is kept when `out` is nil.
    mutating func gumbel(_ sample: Int, _ count: Int, into out: UnsafeMutablePointer<Double>?) throws(DiffError) {
        let isDrawn: Void? = try draw(sample) { generator in
            for i in Indices(below: count) {
                let value = generator.uniformDouble()
                if let out = unsafe out { unsafe out[i] = value }
            }
        }
        guard isDrawn == nil else { return }
        let start = used.doubles
        guard count >= 0, count <= doubles.count &- start else { throw Self.exhausted }
        used.doubles = start &+ count
        guard let out = unsafe out else { return }
        for i in Indices(below: count) { unsafe out[i] = doubles.at(start &+ i) ?? 0 }
    }

    /// `count` exponential values into `out`; none is kept when `out` is nil.
    mutating func exponential(_ sample: Int, _ count: Int, into out: UnsafeMutablePointer<Float>?) throws(DiffError) {
        let isDrawn: Void? = try draw(sample) { generator in
            for i in Indices(below: count) {
                let value = generator.exponentialFloat()
                if let out = unsafe out { unsafe out[i] = value }
            }
        }
        guard isDrawn == nil else { return }
        let start = used.exponentials
        guard count >= 0, count <= exponentials.count &- start else { throw Self.exhausted }
        used.exponentials = start &+ count
        guard let out = unsafe out else { return }
        for i in Indices(below: count) { unsafe out[i] = exponentials.at(start &+ i) ?? 1 }
    }

    /// `count` exponential values.
    mutating func exponential(_ sample: Int, _ count: Int) throws(DiffError) -> [Float] {
        var values = [Float](repeating: 1, count: max(0, count))
        var failure: DiffError?
        unsafe values.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            do throws(DiffError) { try unsafe exponential(sample, buffer.count, into: base) } catch { failure = error }
        }
        if let failure { throw failure }
        return values
    }
}

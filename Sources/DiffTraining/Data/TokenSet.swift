public import DiffCheckpoint
public import DiffModels
public import DiffTensor

/// Codes of all scales and class labels that a next-scale network learns from, read from disk as they are needed: stored as such, or
/// as images that a VQ-VAE's encoder turns into codes each time.
///
/// Labels are N integers and stay in memory.
public final class TokenSet: Sendable {
    /// Number of samples.
    public let count: Int
    /// Whether codes are made of images.
    public let isEncoded: Bool
    private let file: ArrayFile
    private let encoder: ScaleEncoder
    private let labels: [Int]

    /// Codes [N, tokens of all scales] as integers, coarse to fine, each scale row by row; those of `encoder`'s codebook. Throws `shape`
    /// when their number is another one, `unsupported` for elements that are no integers, and what is wrong with the labels as
    /// ``init(pictures:labels:encoder:classes:)``.
    public convenience init(
        tokens: ArrayFile, labels: ArrayFile, encoder: ScaleEncoder, classes: Int
    ) throws(DiffError) {
        let all = encoder.codes.schedule.tokens
        guard tokens.shape.rank == 2, tokens.shape[1] == all else {
            throw DiffError(
                .shape,
                "\(tokens.path): tokens \(tokens.shape), expected [N, \(all)]: those of scales "
                    + "\(encoder.codes.schedule.sides)")
        }
        guard tokens.type.isIntegral else {
            throw DiffError(.unsupported, "\(tokens.path): \(tokens.type.rawValue) elements cannot be tokens")
        }
        try self.init(tokens, labels, encoder, classes, isEncoded: false)
    }

    /// Images [N, 3, S, S] of the size that `encoder` makes the finest scale of, F32, F16, BF16 or F64 in -1...1, or U8 (0...255).
    /// Throws `shape`, `unsupported` for other elements, `invalidArgument` for a label outside 0 ..< `classes`.
    public convenience init(
        pictures: ArrayFile, labels: ArrayFile, encoder: ScaleEncoder, classes: Int
    ) throws(DiffError) {
        let one = encoder.picture
        guard pictures.shape == (try one.withRows(pictures.rows)) else {
            throw DiffError(
                .shape, "\(pictures.path): pictures \(pictures.shape), expected [N, 3, \(one[1]), \(one[2])]")
        }
        guard ArrayFile.readable.contains(pictures.type) else { throw pictures.unreadable() }
        try self.init(pictures, labels, encoder, classes, isEncoded: true)
    }

    private init(
        _ file: ArrayFile, _ labels: ArrayFile, _ encoder: ScaleEncoder, _ classes: Int, isEncoded: Bool
    ) throws(DiffError) {
        (self.file, self.encoder, self.isEncoded) = (file, encoder, isEncoded)
        count = file.rows
        self.labels = try labels.labels(of: count, classes: classes)
    }

    /// The label of a sample.
    public func label(_ index: Int) -> Int { labels.at(index) ?? 0 }

    /// Codes of all scales of samples `indices`, [scale][sample · side²]. Images are encoded one by one in `run`, so that memory does
    /// not grow with their number. Throws `io`, `invalidArgument` naming the sample for a code outside the codebook, `notFinite` for an
    /// image that holds NaN or infinity, memory errors.
    public func read(_ indices: [Int], _ run: Run) throws(DiffError) -> [[Int]] {
        let schedule = encoder.codes.schedule
        var scales: [[Int]] = Indices(below: schedule.count).map { _ in [] }
        for index in indices.each {
            let sample = isEncoded ? try encoded(index, run) : try stored(index, run)
            for (scale, tokens) in sample.numbered {
                scales.update(at: scale) { all in
                    for token in tokens.each { all.append(token) }
                }
            }
        }
        return scales
    }

    private func stored(_ index: Int, _ run: Run) throws(DiffError) -> [[Int]] {
        let (schedule, vocabulary) = (encoder.codes.schedule, encoder.codes.vocabulary)
        // A dry run reads nothing: code 0 everywhere.
        let all = run.isDry ? [] : try file.integers(from: index &* schedule.tokens, count: schedule.tokens)
        for (position, token) in all.numbered where token < 0 || token >= vocabulary {
            throw DiffError(
                .invalidArgument,
                "\(file.path): sample \(index): token \(token) at position \(position) is outside 0..<\(vocabulary)")
        }
        return Indices(below: schedule.count).map { scale in
            Indices(below: schedule.length(scale)).map { all.at(schedule.offset(scale) &+ $0) ?? 0 }
        }
    }

    private func encoded(_ index: Int, _ run: Run) throws(DiffError) -> [[Int]] {
        let picture = try run.workspace.take(encoder.picture.withRows(1))
        let scratch = file.type == .f32 ? nil : try run.workspace.block(encoder.picture.count &* 8)
        if !run.isDry {
            try file.read(from: index &* encoder.picture.count, into: picture, scratch: scratch)
            try run.requireFinite(picture, "\(file.path): sample \(index)")
        }
        return try encoder.tokens(of: picture, run)
    }
}

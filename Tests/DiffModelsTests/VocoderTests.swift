import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport
import Testing

/// The vocoder in double precision, written down from the definition of its layers: signals by channel, then time.
private struct VocoderReference {
    let tiny: TinyVocoder
    let tensors: [String: Tensor]

    private typealias Signal = [[Double]]

    private func tensor(_ name: String) throws -> Tensor { try #require(tensors[name]) }
    private func numbers(_ name: String) throws -> [Double] { try tensor(name).array.map(Double.init) }

    private func leaky(_ x: Signal, _ slope: Double) -> Signal { x.map { $0.map { $0 < 0 ? $0 * slope : $0 } } }

    private func convolution(_ name: String, _ x: Signal, dilation: Int = 1) throws -> Signal {
        let (weight, bias) = (try tensor("\(name).weight"), try numbers("\(name).bias"))
        let (w, inputs, taps) = (try numbers("\(name).weight"), weight.shape[1], weight.shape[2])
        let (length, padding) = (x[0].count, (taps - 1) / 2 * dilation)
        return (0..<weight.shape[0]).map { output in
            (0..<length).map { t in
                var sum = bias[output]
                for input in 0..<inputs {
                    for tap in 0..<taps {
                        let at = t + tap * dilation - padding
                        if at >= 0, at < length { sum += w[(output * inputs + input) * taps + tap] * x[input][at] }
                    }
                }
                return sum
            }
        }
    }

    private func transposed(_ name: String, _ x: Signal, rate: Int) throws -> Signal {
        let (weight, bias) = (try tensor("\(name).weight"), try numbers("\(name).bias"))
        let (w, outputs, kernel) = (try numbers("\(name).weight"), weight.shape[1], weight.shape[2])
        let padding = (kernel - rate) / 2
        let length = (x[0].count - 1) * rate - 2 * padding + kernel
        var out = bias.map { [Double](repeating: $0, count: length) }
        for input in x.indices {
            for (t, value) in x[input].enumerated() {
                for output in 0..<outputs {
                    for tap in 0..<kernel {
                        let at = t * rate + tap - padding
                        let element = (input * outputs + output) * kernel + tap
                        if at >= 0, at < length { out[output][at] += value * w[element] }
                    }
                }
            }
        }
        return out
    }

    /// `mel` by frame, then bin.
    func waveform(_ mel: [[Double]]) throws -> [Double] {
        var x: Signal = (0..<tiny.bins).map { bin in mel.map { $0[bin] } }
        if tiny.normalises {
            let (means, deviations) = (try numbers("mean"), try numbers("scale"))
            x = x.enumerated().map { bin, row in row.map { ($0 - means[bin]) / deviations[bin] } }
        }
        x = try convolution("conv_pre", x)
        for (stage, rate) in tiny.rates.enumerated() {
            x = try transposed("upsampler.\(stage)", leaky(x, 0.1), rate: rate)
            var sum = x.map { $0.map { _ in 0.0 } }
            for (index, list) in tiny.dilations.enumerated() {
                var h = x
                for (pair, dilation) in list.enumerated() {
                    let block = "resblocks.\(stage * tiny.dilations.count + index)"
                    let inner = try convolution("\(block).convs1.\(pair)", leaky(h, 0.1), dilation: dilation)
                    let change = try convolution("\(block).convs2.\(pair)", leaky(inner, 0.1))
                    h = zip(h, change).map { zip($0, $1).map(+) }
                }
                sum = zip(sum, h).map { zip($0, $1).map(+) }
            }
            x = sum.map { $0.map { $0 / Double(tiny.dilations.count) } }
        }
        return try convolution("conv_post", leaky(x, 0.01))[0].map(tanh)
    }
}

@Suite struct VocoderTests {
    private func load(
        _ tiny: TinyVocoder, _ tensors: [String: Tensor]? = nil, convolution: ConvolutionMethod = .auto
    ) throws -> Vocoder {
        let directory = try ScratchDirectory()
        try directory.write(tensors ?? tiny.tensors(), as: "weights.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
        var options = Weights.Options()
        options.convolution = convolution
        return try Vocoder(
            VocoderConfiguration(JSONObject(tiny.config, source: "config.json")), Weights(table, options: options))
    }

    /// Rates and kernels that differ by even and odd numbers, equal ones, and one stage; a block of one pair; channels for Winograd's
    /// transforms.
    private static let kinds: [TinyVocoder] = [
        TinyVocoder(),
        {
            var tiny = TinyVocoder()
            (tiny.rates, tiny.kernels, tiny.normalises) = ([4], [8], true)
            return tiny
        }(),
        {
            var tiny = TinyVocoder()
            (tiny.rates, tiny.kernels, tiny.channels) = ([3, 2, 1], [3, 5, 4], 40)
            (tiny.residualKernels, tiny.dilations) = ([1, 11], [[4], [1, 5]])
            return tiny
        }(),
        {
            var tiny = TinyVocoder()
            (tiny.rates, tiny.kernels, tiny.channels) = ([5], [16], 64)
            (tiny.residualKernels, tiny.dilations) = ([7], [[1, 3]])
            return tiny
        }(),
    ]

    @Test(arguments: kinds.indices, [1, 2, 9, 40])
    func aWaveformIsThatOfTheDefinition(_ kind: Int, _ frames: Int) throws {
        let tiny = Self.kinds[kind]
        let vocoder = try load(tiny)
        var numbers = Numbers(UInt64(frames))
        let mel = try numbers.tensor([2, frames, tiny.bins])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let found = try vocoder(mel, run)
        let all = mel.array.map(Double.init)
        let reference = VocoderReference(tiny: tiny, tensors: try tiny.tensors())
        #expect(vocoder.configuration.samples(frames: frames) == found.shape[1])
        for sample in 0..<2 {
            let rows = (0..<frames).map { frame in
                (0..<tiny.bins).map { all[(sample * frames + frame) * tiny.bins + $0] }
            }
            let expected = try reference.waveform(rows)
            let own = try found.rows(sample, 1).array
            #expect(own.count == expected.count)
            let difference = Difference(own, expected)
            #expect(difference.absolute < 5e-6, "kind \(kind), \(frames) frames")
        }
    }

    /// Longer than one stretch: seams cannot be told, threads and neighbours in the batch neither.
    @Test(arguments: kinds.indices) func stretchesAreTheWholeBitForBit(_ kind: Int) throws {
        let tiny = Self.kinds[kind]
        let vocoder = try load(tiny)
        let frames = 2 * Vocoder.frames + 100
        var numbers = Numbers(5)
        let mel = try numbers.tensor([2, frames, tiny.bins])
        let whole = try vocoder(mel, Run(pool: nil, budget: nil))
        let samples = whole.shape[1]
        for limit in [nil, 0, 1, samples / 2, samples, samples + 5] as [Int?] {
            var (pieces, next, count) = ([Float](), 0, 0)
            let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
            try vocoder.stream(mel.rows(1, 1), limit: limit, run) { (first, stretch) throws(DiffError) in
                #expect(first == next && stretch.shape[0] == 1)
                pieces += stretch.array
                next += stretch.shape[1]
                count += 1
            }
            let wanted = min(samples, limit ?? samples)
            #expect(try sameBits(pieces, Array(whole.rows(1, 1).array.prefix(wanted))))
            #expect(count > 1 || wanted < samples)
        }
        // What is made of frames does not depend on those far away.
        let cut = try Tensor(
            Array(mel.array.prefix((Vocoder.frames + 40) * tiny.bins)), Shape(1, Vocoder.frames + 40, tiny.bins))
        let alone = try vocoder(cut, Run(pool: nil, budget: nil)).array
        let sure = (Vocoder.frames - 40) * vocoder.configuration.factor
        #expect(sameBits(Array(alone.prefix(sure)), Array(whole.array.prefix(sure))))
    }

    /// The last kind has channels enough for tiles of four rows, and the setting turns these off.
    @Test func directSumsAreThereToo() throws {
        let tiny = try #require(Self.kinds.last)
        var numbers = Numbers(5)
        let mel = try numbers.tensor([1, 60, tiny.bins])
        let waveforms = try [ConvolutionMethod.auto, .winograd, .direct].map {
            try load(tiny, convolution: $0)(mel, Run(pool: nil, budget: nil)).array
        }
        #expect(sameBits(waveforms[0], waveforms[1]) && !sameBits(waveforms[0], waveforms[2]))
        #expect(Difference(waveforms[0], waveforms[2].map(Double.init)).absolute < 5e-6)
    }

    @Test(arguments: kinds.indices) func aDryRunForeseesARealOne(_ kind: Int) throws {
        let tiny = Self.kinds[kind]
        let vocoder = try load(tiny)
        for frames in [7, Vocoder.frames, 3 * Vocoder.frames] {
            var numbers = Numbers(5)
            let mel = try numbers.tensor([1, frames, tiny.bins])
            let (real, dry) = (Run(pool: try WorkerPool(threads: 2), budget: nil), Run(dryOn: 2))
            for run in [real, dry] { _ = try vocoder(mel, run) }
            #expect(real.workspace.peakBytes == dry.workspace.peakBytes && real.trace.flops == dry.trace.flops)
        }
    }

    /// Memory beside spectrogram and waveform does not grow with the length.
    @Test func memoryIsBounded() throws {
        let tiny = TinyVocoder()
        let vocoder = try load(tiny)
        func peak(_ frames: Int) throws -> Int {
            let run = Run(dryOn: 2)
            let mel = try Tensor(Storage(virtual: 4 * frames * tiny.bins), Shape(1, frames, tiny.bins))
            try vocoder.stream(mel, run) { (_, _) throws(DiffError) in }
            return run.workspace.peakBytes
        }
        #expect(try peak(100 * Vocoder.frames) <= peak(4 * Vocoder.frames))
    }

    @Test func itStopsBetweenLayers() throws {
        let vocoder = try load(TinyVocoder())
        let run = Run(pool: nil, budget: nil)
        run.cancel.cancel()
        var numbers = Numbers(5)
        let mel = try numbers.tensor([1, 5, 6])
        #expect { try vocoder(mel, run) } throws: { ($0 as? DiffError)?.code == .cancelled }
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let vocoder = try load(TinyVocoder())
        let run = Run(pool: nil, budget: nil)
        for dims in [[1, 5, 7], [5, 6], [0, 5, 6], [1, 0, 6]] {
            let mel = try Tensor([Float](repeating: 0, count: dims.reduce(1, *)), Shape(dims))
            #expect { try vocoder(mel, run) } throws: { ($0 as? DiffError)?.code == .shape }
        }
        #expect(
            vocoder.configuration.samples(frames: Int.max) == nil && vocoder.configuration.samples(frames: 0) == nil)
        #expect(vocoder.configuration.samples(frames: -3) == nil)
        var tensors = try TinyVocoder().tensors()
        tensors["resblocks.1.convs2.0.weight"] = nil
        tensors["stray"] = try Tensor([1], Shape(1))
        do {
            _ = try load(TinyVocoder(), tensors)
            Issue.record("it was loaded")
        } catch let error as DiffError {
            #expect(error.message.contains("resblocks.1.convs2.0.weight") && error.message.contains("stray"))
        }
    }

    @Test(arguments: [
        ("upsample_rates", JSON.array([])), ("upsample_kernel_sizes", .array([.integer(16)])),
        ("upsample_kernel_sizes", .array([.integer(4), .integer(4)])),
        ("resblock_kernel_sizes", .array([.integer(3), .integer(4)])),
        ("resblock_dilation_sizes", .array([.array([.integer(1)])])), ("upsample_initial_channel", .integer(2)),
        ("resblock_dilation_sizes", .array([.array([]), .array([.integer(1)])])),
        ("resblock_dilation_sizes", .array([.integer(1), .integer(1)])), ("leaky_relu_slope", .number(2)),
        ("model_in_dim", .integer(0)), ("model_type", .string("univnet")),
        ("upsample_rates", .array([.integer(0), .integer(2)])),
    ])
    func settingsThatMakeNoVocoderAreRefusedByName(_ key: String, _ value: JSON) throws {
        guard case .object(var members) = TinyVocoder().config else { return }
        members[key] = value
        do {
            _ = try VocoderConfiguration(JSONObject(.object(members), source: "config.json"))
            Issue.record("\(key) was taken")
        } catch {
            #expect(
                error.message.contains("config.json") && error.message.contains("upsample")
                    || error.message.contains(key))
        }
    }
}

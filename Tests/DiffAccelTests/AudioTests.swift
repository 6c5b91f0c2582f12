import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// A pipeline of sounds by the library's entry, without its text encoder; texts are what Python's tests are about.
@Suite struct AudioTests {
    private let directory: ScratchDirectory
    private let tiny = TinyAudio()
    private let model: Model
    private let vectors: Tensor

    init() throws {
        directory = try ScratchDirectory()
        model = try Model(tiny.write(directory))
        var numbers = Numbers(3)
        vectors = try numbers.tensor([2, tiny.unet.classWidth])
    }

    private func session(_ plan: Plan = Plan(), memoryLimit: Int = 0) throws -> Session {
        var options = SessionOptions()
        (options.threads, options.memoryLimit) = (1, memoryLimit)
        return try model.session(plan, options)
    }

    @Test func stretchesInEventsAreTheSound() throws {
        var (streamed, stages): ([Int: [Float]], [SampleEvent.Stage]) = ([:], [])
        var fractions: [Double] = []
        let result = try session().sample(tiny.request(vectors, latents: 700, steps: 2)) { event in
            stages.append(event.stage)
            fractions.append(event.fraction)
            if let audio = event.audio {
                if audio.first != streamed[audio.waveform, default: []].count { return .cancel }
                streamed[audio.waveform, default: []] += audio.samples.array
                let place = try? event.tensor("audio_place").integers
                if place != [audio.waveform, audio.first] { return .cancel }
            }
            return .continue
        }
        let audio = try #require(result.audio)
        #expect(audio.shape.dims == [2, 700 * 40] && result.statistics.sampleRate == tiny.rate)
        #expect((0..<2).flatMap { streamed[$0] ?? [] } == audio.array)
        // Longer than the vocoder's pieces.
        #expect(stages.filter { $0 == .vocode }.count > 2 && stages.first == .encode)
        #expect(fractions == fractions.sorted() && abs((fractions.last ?? 0) - 1) < 1e-9)
        #expect(try result.tensor("mel").shape.dims == [2, 1400, tiny.bins])
    }

    /// As diffusers has them: in double, latents rounded up, values cut off.
    @Test(arguments: [(0.0025, 1, 40), (0.0026, 1, 41), (0.29, 116, 4640), (0.031, 12, 484), (0.0426, 17, 681)])
    func lengths(_ seconds: Double, _ latents: Int, _ values: Int) throws {
        var request = tiny.request(vectors, steps: 1)
        request["seconds"] = .number(seconds)
        let result = try session().sample(request)
        #expect(result.latents?.shape[2] == latents && result.audio?.shape.dims == [2, values])
        #expect(try result.tensor("mel").shape[1] == 2 * latents)
    }

    @Test func lengthsThatAreRefusedBeforeAnythingIsComputed() throws {
        let session = try session()
        for seconds in [0, -1, 0.0024, 600.01, 1e9, .infinity, .nan] {
            var request = tiny.request(vectors)
            request["seconds"] = .number(seconds)
            for error in [
                failure { _ = try session.sample(request) }, failure { _ = try session.estimate(request) },
            ] {
                #expect(error?.code == .invalidArgument && error?.message.contains("seconds") == true, "\(seconds)")
            }
        }
    }

    @Test func estimatesHoldAndLimitsAreKept() throws {
        for latents in [16, 300] {
            let request = tiny.request(vectors, latents: latents, steps: 2)
            let estimate = try session().estimate(request)
            let used = try session().sample(request).statistics.peakBytes
            #expect(used <= estimate.peak && Double(estimate.peak) <= 1.1 * Double(used) + 65536)
            #expect(try session(memoryLimit: estimate.peak).sample(request).audio != nil)
            let error = failure { _ = try session(memoryLimit: estimate.peak / 3).sample(request) }
            #expect(error?.code == .overBudget)
        }
    }

    @Test func cancelledBetweenStretchesASessionGoesOn() throws {
        let session = try session()
        let request = tiny.request(vectors, latents: 700, steps: 1)
        for stage in [SampleEvent.Stage.decode, .vocode] {
            let error = failure {
                _ = try session.sample(request) { $0.stage == stage ? .cancel : .continue }
            }
            #expect(error?.code == .cancelled)
        }
        #expect(try session.sample(request).audio != nil)
    }

    @Test func settingsOfOtherPipelinesAreRefusedByName() throws {
        var options = ModelOptions()
        options.settings.heads = .channels(8)
        let other = try Model(model.path, options)
        let request = tiny.request(vectors)
        let (a, b) = (try other.session().sample(request), try session().sample(request))
        #expect(a.state != b.state)
        options.settings.heads = .channels(3)
        #expect(failure { _ = try Model(model.path, options) }?.message.contains("divide") == true)
        options.settings.heads = .config
        options.settings.usesT5 = false
        #expect(failure { _ = try Model(model.path, options) }?.message.contains("t5") == true)
        var heads = ModelOptions()
        heads.settings.heads = .channels(32)
        let unet = try TinyUNet().writePipeline(directory)
        #expect(failure { _ = try Model(unet, heads) }?.message.contains("heads") == true)
        for text in ["", "config ", "channels", "channels/", "channels/0", "channels/-4", "channels/4x", "8"] {
            #expect(ModelSettings.Heads(text) == nil, "\(text)")
        }
        #expect(ModelSettings.Heads("channels/32") == .channels(32) && ModelSettings.Heads("config") == .config)
    }

    @Test func textsThatCannotBeReadAreRefusedByName() throws {
        var request = tiny.request(vectors)
        request.tensors = [:]
        request["prompt"] = "rain"
        let error = failure { _ = try session().sample(request) }
        #expect(error?.code == .unsupported && error?.message.contains("text_encoder") == true)
        // Guidance leads away from an empty text.
        request = tiny.request(vectors)
        request["guidance"] = 3
        #expect(failure { _ = try session().sample(request) }?.message.contains("negative_prompt_embeds") == true)
        request.tensors["negative_prompt_embeds"] = .floats(try vectors.rows(0, 1))
        #expect(try session().sample(request).audio?.shape[0] == 2)
    }
}

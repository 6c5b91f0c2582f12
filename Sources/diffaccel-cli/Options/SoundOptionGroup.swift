import ArgumentParser
import DiffAccel

extension SoundFile.Format: ExpressibleByArgument {}

/// How sounds from prompts are written.
struct SoundOptionGroup: ParsableArguments {
    @Option(help: ArgumentHelp("PNG file of the spectrograms of all sounds, below each other.", valueName: "file"))
    var spectrogram: String?

    @Option(help: "How values of sounds are kept: pcm16, pcm24, or, in WAV files, float (default: pcm16).")
    var audioFormat: SoundFile.Format?

    private var format: SoundFile.Format { audioFormat ?? .pcm16 }

    /// Throws for a model that makes no sounds when something is said of them.
    func refuse(besides facts: ModelFacts) throws {
        guard !facts.makesSounds else { return }
        for (name, isGiven) in [("spectrogram", spectrogram != nil), ("audio-format", audioFormat != nil)] where isGiven
        {
            throw UsageError("--\(name) is for models that make sounds, such as AudioLDM 2")
        }
    }

    /// Looks, before the long run, for what would keep `count` sounds from being written to `path` or the folder `individual`.
    func check(_ path: String?, _ individual: String?, count: Int) throws(DiffError) {
        if let path {
            guard path != StandardOutput.name || count == 1 else {
                throw DiffError(
                    .invalidArgument,
                    "standard output takes one sound, \(count) are asked for: name a file, or a folder with --individual"
                )
            }
            try SoundFile.check(path, format)
            try ResultFile.check(path)
        }
        if let spectrogram { try ResultFile.check(spectrogram) }
        if let individual { try Folder.make(individual) }
    }

    /// Writes sounds to `path` (several: numbered before its ending) and to files of their own in the folder `individual`, and their
    /// spectrograms; returns the paths. `names` has one for each sound.
    func write(
        _ collected: Collected, to path: String?, _ individual: String?, _ names: [String]
    ) throws(DiffError) -> [String] {
        let rate = collected.statistics?.sampleRate ?? 16_000
        var written: [String] = []
        for (index, values) in collected.sounds.enumerated() {
            if let path {
                let own = collected.sounds.count == 1 ? path : Self.numbered(path, index + 1)
                try SoundFile.write(values, rate: rate, to: own, format)
                written.append(own)
            }
            if let individual {
                let number = String(String(index + 10_000).dropFirst())
                let name = names.indices.contains(index) ? "\(number)-\(names[index])" : number
                try SoundFile.write(values, rate: rate, to: "\(individual)/\(name).wav", format)
            }
        }
        if let individual { written.append(individual) }
        if let spectrogram, collected.bins > 0 {
            let frames = (collected.spectrograms.first?.count ?? 0) / collected.bins
            try PNGWriter.write(
                Spectrogram.picture(collected.spectrograms, frames: frames, bins: collected.bins), to: spectrogram)
            written.append(spectrogram)
        }
        return written
    }

    /// `flute.wav` as `flute-2.wav`.
    private static func numbered(_ path: String, _ number: Int) -> String {
        guard let dot = path.lastIndex(of: ".") else { return "\(path)-\(number)" }
        return "\(path[..<dot])-\(number)\(path[dot...])"
    }
}

import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// A request for pictures from prompts, read and in range.
struct PromptImageRequest {
    /// What it says of a picture's size.
    typealias Size = (height: Int, width: Int)

    /// Texts for each encoder of the model; none where embeddings are given instead.
    let prompts: PromptTexts
    /// Pictures of each prompt.
    let perPrompt: Int
    let steps: StepsRequest
    let guidance: GuidanceRequest
    /// Classifier-free guidance scale; nil: the model's own.
    let scale: Double?
    /// In pixels; nil: as the picture that the request begins with, else as the model was trained.
    let size: (height: Int?, width: Int?)
    /// How much of a given picture is changed, 0 … 1; nil: as usual.
    let strength: Double?
    /// Layers of the text encoder that are left out at its end.
    let clipSkip: Int?
    /// SDXL: sizes and crops that the network is told, of the prompt and of the negative prompt.
    let told: ToldSizes
    /// SD3: tokens of T5's text.
    let textLength: Int
    /// One seed for the batch, or one for each picture.
    let seeds: [UInt64]
    let preview: Preview
    let decode: Bool
    let tiling: Tiling

    /// What events show of the picture so far.
    enum Preview: String, CaseIterable {
        /// Nothing.
        case none
        /// A linear projection of the latents, as small as they are: next to no work.
        case linear
        /// What the model's decoder makes of them: affordable with a tiny one (TAESD).
        case decoder
    }

    /// The most pixels of a side.
    static let maxSide = 16_384

    /// The request that `reader` checked.
    init(_ reader: RequestReader) throws(DiffError) {
        let options = reader.options
        prompts = try PromptTexts(options)
        perPrompt = try options.get("images_per_prompt")
        steps = try StepsRequest(options)
        guidance = try GuidanceRequest(options)
        scale = options.has("guidance") ? try options.get("guidance") : nil
        size = (try options.optional("height"), try options.optional("width"))
        strength = try options.optional("strength")
        clipSkip = try options.optional("clip_skip")
        told = try ToldSizes(options)
        textLength = options.declares("max_sequence_length") ? try options.get("max_sequence_length") : 0
        seeds = try CommonOptions.seeds(options)
        preview = try options.getCase("previews")
        decode = try options.get("decode")
        tiling = try Tiling(options)
    }
}

/// What a request says in words, a list for each text encoder of the model.
struct PromptTexts {
    /// Prompts by encoder; an encoder without a list of its own reads the first one's.
    let positive: [[String]?]
    /// What pictures are to be kept from; nil: nothing was said.
    let negative: [[String]?]

    private static let names = ["prompt", "prompt_2", "prompt_3"]

    init(_ options: Options) throws(DiffError) {
        var (positive, negative): ([[String]?], [[String]?]) = ([], [])
        for name in Self.names.each where options.declares(name) {
            positive.append(try options.optional(name))
            negative.append(try options.optional("negative_\(name)"))
        }
        (self.positive, self.negative) = (positive, negative)
        guard let count = positive.first??.count else { return }
        for (index, list) in positive.numbered where list.map({ $0.count != count }) ?? false {
            throw options.error(Self.names.at(index) ?? "", "\(list?.count ?? 0) texts for \(count) prompts")
        }
        for (index, list) in negative.numbered where list.map({ $0.count != count && $0.count != 1 }) ?? false {
            throw options.error(
                "negative_\(Self.names.at(index) ?? "")",
                "\(list?.count ?? 0) texts for \(count) prompts: give one for all, or one for each")
        }
    }

    /// Number of prompts; 0: none is given.
    var count: Int { positive.first??.count ?? 0 }

    /// What the encoder numbered `index` reads of prompt `row`: its own text, or the first encoder's where it has none, or an empty one.
    func text(_ index: Int, _ row: Int) -> String {
        let own = (positive.at(index) ?? nil)?.at(row) ?? ""
        return own.isEmpty ? (positive.first ?? nil)?.at(row) ?? "" : own
    }

    /// The same of negative prompts, of which one may hold for all; the empty text where none was given.
    @inline(never)
    func negativeText(_ index: Int, _ row: Int) -> String {
        let own = Self.one(of: negative.at(index) ?? nil, row)
        return own.isEmpty ? Self.one(of: negative.first ?? nil, row) : own
    }

    /// The text for `row`, of one for all or one for each; empty where there is none.
    @inline(never)
    private static func one(of texts: [String]?, _ row: Int) -> String {
        guard let texts, let first = texts.first else { return "" }
        return texts.count == 1 ? first : texts.at(row) ?? ""
    }

    /// Negative prompts that differ: one for all, or one for each.
    var negativeCount: Int {
        let most = negative.each.reduce(1) { max($0, $1?.count ?? 1) }
        return min(most, max(1, count))
    }

    /// Whether something is said in negative prompts, be it nothing.
    var hasNegative: Bool { negative.each.contains { $0 != nil } }
}

/// The sizes that SDXL is told, in pixels.
struct ToldSizes {
    /// Height and width before scaling, top and left of the crop, height and width aimed at; nil: those of the picture, no crop.
    let original: [Int]?, crop: [Int]?, target: [Int]?
    /// The same for the negative prompt; nil: as for the prompt.
    let negativeOriginal: [Int]?, negativeCrop: [Int]?, negativeTarget: [Int]?

    static let names = [
        "original_size", "crop", "target_size", "negative_original_size", "negative_crop", "negative_target_size",
    ]

    init(_ options: Options) throws(DiffError) {
        func pair(_ name: String) throws(DiffError) -> [Int]? {
            options.declares(name) ? try options.optional(name) : nil
        }
        (original, crop, target) = (try pair("original_size"), try pair("crop"), try pair("target_size"))
        negativeOriginal = try pair("negative_original_size")
        negativeCrop = try pair("negative_crop")
        negativeTarget = try pair("negative_target_size")
    }

    /// The six numbers for pictures of `height` and `width`: of the prompt, and of the negative prompt; of a run that begins with a picture
    /// each negative one that is not given is the prompt's.
    func numbers(_ height: Int, _ width: Int, ofPicture: Bool) -> (positive: [Float], negative: [Float]) {
        let size = [height, width]
        let (original, crop, target) = (original ?? size, crop ?? [0, 0], target ?? size)
        let positive = Self.joined(original, crop, target)
        if ofPicture {
            return (
                positive,
                Self.joined(negativeOriginal ?? original, negativeCrop ?? crop, negativeTarget ?? target)
            )
        }
        // As in diffusers: the negative ones count when both sizes are there.
        guard let negativeOriginal, let negativeTarget else { return (positive, positive) }
        return (positive, Self.joined(negativeOriginal, negativeCrop ?? [0, 0], negativeTarget))
    }

    private static func joined(_ a: [Int], _ b: [Int], _ c: [Int]) -> [Float] {
        var numbers: [Float] = []
        for pair in [a, b, c].each { for value in pair.each { numbers.append(Float(value)) } }
        return numbers
    }
}

import DiffCheckpoint
import DiffTensor

/// Three convolutions with rectifiers between, plus the input, rectified. Source: `AutoencoderTinyBlock` of diffusers.
final class TinyBlock: Sendable {
    let site: Site
    private let convolutions: [Convolution]

    init(_ w: Weights, _ width: Int, _ site: Site) throws(DiffError) {
        self.site = site
        var convolutions: [Convolution] = []
        for number in [0, 2, 4] {
            convolutions.append(
                try Convolution(w.scope("conv.\(number)"), width, width, kernel: 3, window: .init(padding: 1)))
        }
        self.convolutions = convolutions
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            var h = x
            for (index, convolution) in convolutions.numbered {
                h = try run.activate(
                    convolution(h, run, adding: index &+ 1 == convolutions.count ? x : nil), .relu)
            }
            return h
        }
    }
}

/// One half: numbered layers, one after the other.
final class TinyHalf: Sendable {
    private enum Layer: Sendable {
        case convolution(Convolution)
        case block(TinyBlock)
        case rectifier
        /// Nearest neighbours, this many times the size.
        case enlargement(Int)
        /// The next layers have another size.
        case trim
    }

    private let layers: [Layer]

    /// Image to latents: each level but the first begins with a convolution that halves.
    init(
        encoder names: AutoencoderTinyNames, _ w: Weights, _ c: AutoencoderTinyConfiguration, _ layout: inout SiteLayout
    )
        throws(DiffError)
    {
        var maker = Maker(names: names, weights: w.scope(names.scope), width: c.encoder.width)
        for (level, blocks) in c.encoder.blocks.numbered {
            try maker.convolution(
                from: level == 0 ? c.inChannels : nil, stride: level == 0 ? 1 : 2, bias: level == 0)
            maker.add(.trim)
            try maker.blocks(blocks, &layout)
        }
        try maker.convolution(to: c.latentChannels)
        layers = maker.layers
    }

    /// Latents to image: each level but the last ends with an enlargement and a convolution.
    init(
        decoder names: AutoencoderTinyNames, _ w: Weights, _ c: AutoencoderTinyConfiguration, _ layout: inout SiteLayout
    )
        throws(DiffError)
    {
        var maker = Maker(names: names, weights: w.scope(names.scope), width: c.decoder.width)
        try maker.convolution(from: c.latentChannels)
        maker.number(.rectifier)
        for (level, blocks) in c.decoder.blocks.numbered {
            try maker.blocks(blocks, &layout)
            if level == c.decoder.blocks.count &- 1 {
                try maker.convolution(to: c.outChannels)
            } else {
                // Twice the size is what a convolution can read by itself.
                if c.upsampling > 2 { maker.add(.enlargement(c.upsampling)) }
                maker.skip()
                maker.add(.trim)
                try maker.convolution(upsample: c.upsampling == 2 ? 2 : 1, bias: false)
            }
        }
        layers = maker.layers
    }

    /// Makes layers in the order of their numbers.
    private struct Maker {
        let names: AutoencoderTinyNames
        let weights: Weights
        let width: Int
        private(set) var layers: [Layer] = []
        private var next = 0

        init(names: AutoencoderTinyNames, weights: Weights, width: Int) {
            (self.names, self.weights, self.width, next) = (names, weights, width, names.first)
        }

        mutating func add(_ layer: Layer) { layers.append(layer) }

        mutating func skip() { next &+= 1 }

        mutating func number(_ layer: Layer) {
            add(layer)
            skip()
        }

        mutating func convolution(
            from inputs: Int? = nil, to outputs: Int? = nil, stride: Int = 1, upsample: Int = 1, bias: Bool = true
        ) throws(DiffError) {
            let window = ConvolutionWindow(padding: 1, stride: stride, upsample: upsample)
            number(
                .convolution(
                    try Convolution(
                        weights.scope(index: next), inputs ?? width, outputs ?? width, kernel: 3, window: window,
                        bias: bias)))
        }

        mutating func blocks(_ count: Int, _ layout: inout SiteLayout) throws(DiffError) {
            for _ in Indices(below: count) {
                let w = weights.scope(index: next)
                number(.block(try TinyBlock(w, width, layout.add(w.path, .resnet))))
            }
        }
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        var h = x
        for layer in layers.each {
            switch layer {
            case .convolution(let convolution): h = try convolution(h, run)
            case .block(let block): h = try block(h, run)
            case .rectifier: h = try run.activate(h, .relu)
            case .enlargement(let factor): h = try run.upsampleNearest(h, factor: factor)
            case .trim: run.workspace.trim()
            }
        }
        return h
    }
}

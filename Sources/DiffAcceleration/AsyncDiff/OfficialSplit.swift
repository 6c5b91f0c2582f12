import DiffTensor

/// The published splits, chosen by architecture: the released code chooses by the exact name of a repository.
///
/// Source: `pipe_config.py` and the model classes of czg1225/AsyncDiff.
enum OfficialSplit {
    /// The modules of each component of a network like this one, which is divided into modules called `names`; nil: there is no published
    /// split into so many.
    static func modules(_ layout: SiteLayout, _ names: [String], _ components: Int) -> [[String]]? {
        if layout.family == "sd3_transformer" { return evenBlocks(layout, components) }
        guard layout.family == "unet2d_condition" else { return nil }
        if isStableDiffusionXL(layout) { return stableDiffusionXL(components) }
        guard isStableDiffusion(layout) else { return nil }
        let cuts =
            layout.traits.contains(.projectsLinearly)
            ? stableDiffusion2(components) : stableDiffusion1(components)
        return cuts.map { cut(names, before: $0) }
    }

    /// Three levels with transformers and a last one without, in reverse on the way up.
    private static func isStableDiffusion(_ layout: SiteLayout) -> Bool {
        has(layout, "down_blocks.3", "down_blocks.2.attentions.1", "mid_block.attentions.0", "up_blocks.1.attentions.2")
            && hasNone(
                layout, "down_blocks.4", "down_blocks.0.resnets.2", "down_blocks.0.attentions.2",
                "down_blocks.3.attentions.0", "up_blocks.0.attentions.0")
            && has(layout, "down_blocks.0.attentions.1", "up_blocks.3.attentions.2")
    }

    private static func isStableDiffusionXL(_ layout: SiteLayout) -> Bool {
        has(layout, "down_blocks.2.attentions.1", "mid_block.attentions.0", "up_blocks.0.attentions.2")
            && hasNone(
                layout, "down_blocks.3", "down_blocks.0.resnets.2", "down_blocks.0.attentions.0",
                "up_blocks.2.attentions.0")
            && has(layout, "down_blocks.1.attentions.1", "up_blocks.1.attentions.2")
    }

    private static func has(_ layout: SiteLayout, _ names: String...) -> Bool {
        names.each.allSatisfy { layout.site(named: $0) != nil }
    }

    private static func hasNone(_ layout: SiteLayout, _ names: String...) -> Bool {
        names.each.allSatisfy { layout.site(named: $0) == nil }
    }

    /// First modules of the second component and those after it.
    private static func stableDiffusion2(_ components: Int) -> [String]? {
        switch components {
        case 2: ["up_blocks.1.attentions.2"]
        case 3: ["mid_block", "up_blocks.3"]
        case 4: ["down_blocks.2", "up_blocks.2", "up_blocks.3.attentions.0"]
        default: nil
        }
    }

    private static func stableDiffusion1(_ components: Int) -> [String]? {
        switch components {
        case 2: ["up_blocks.1.attentions.1"]
        case 3: ["mid_block", "up_blocks.2.attentions.2"]
        case 4: ["down_blocks.2", "up_blocks.1.attentions.1", "up_blocks.3"]
        default: nil
        }
    }

    /// The outermost blocks are one component, the last: what is finest is never of an earlier call.
    private static func stableDiffusionXL(_ components: Int) -> [[String]]? {
        let ends = ["up_blocks.1", "up_blocks.2", "conv_norm_out", "conv_out"]
        let wayUp = [
            "up_blocks.0.resnets.0", "up_blocks.0.attentions.0", "up_blocks.0.resnets.1", "up_blocks.0.attentions.1",
            "up_blocks.0.resnets.2", "up_blocks.0.attentions.2", "up_blocks.0.upsamplers.0",
        ]
        func part(_ first: Int, _ end: Int) -> [String] {
            wayUp.numbered.compactMap { $0.offset >= first && $0.offset < end ? $0.element : nil }
        }
        switch components {
        case 2:
            return [
                ["down_blocks.2", "mid_block"] + part(0, 4),
                ["conv_in", "down_blocks.0", "down_blocks.1"] + part(4, 7) + ends,
            ]
        case 3:
            return [
                ["down_blocks.2", "mid_block"] + part(0, 1), part(1, 7),
                ["conv_in", "down_blocks.0", "down_blocks.1"] + ends,
            ]
        case 4:
            return [
                [
                    "down_blocks.1.attentions.0", "down_blocks.1.resnets.1", "down_blocks.1.attentions.1",
                    "down_blocks.1.downsamplers.0", "down_blocks.2",
                ],
                ["mid_block"] + part(0, 2), part(2, 7),
                ["conv_in", "down_blocks.0", "down_blocks.1.resnets.0"] + ends,
            ]
        default: return nil
        }
    }

    /// As many blocks in each component, and the output layer in the last. The embedding of patches is in none.
    private static func evenBlocks(_ layout: SiteLayout, _ components: Int) -> [[String]] {
        let blocks = layout.sites(.block)
        var lists = Indices(below: components).map { _ in [String]() }
        for (index, block) in blocks.numbered {
            lists.update(at: index &* components / max(1, blocks.count)) { $0.append(layout.info(block).name) }
        }
        lists.update(at: components &- 1) { last in for name in ["norm_out", "proj_out"] { last.append(name) } }
        return lists
    }

    /// The modules called `names`, in the order in which they run, cut before these.
    private static func cut(_ names: [String], before cuts: [String]) -> [[String]] {
        var (lists, next) = ([[String]](), 0)
        for _ in Indices(below: cuts.count &+ 1) { lists.append([]) }
        for name in names.each {
            if let cut = cuts.at(next), name == cut || name.hasPrefix("\(cut).") { next &+= 1 }
            lists.update(at: next) { $0.append(name) }
        }
        return lists
    }
}

import DiffAccel
import DiffTensor
import Synchronization
import TestSupport
import Testing

/// Cuts within modules: between the attentions and feed-forwards of a block.
@Suite struct AsyncFineCutTests {
    private let directory: ScratchDirectory
    private let subjects: [AsyncSubject]

    init() throws {
        directory = try ScratchDirectory()
        subjects = try AsyncSubject.all(directory)
    }

    private func plan(
        _ split: AsyncPlan.Split, _ components: Int, stride: Int = 1, _ executor: AsyncPlan.Executor = .sequential
    ) throws -> Plan {
        Plan([try AsyncPlan(components: components, stride: stride, split: split, executor: executor)])
    }

    /// Rank 0's latents.
    private func onRanks(_ subject: AsyncSubject, _ plan: Plan, _ ranks: Int) throws -> [Float] {
        let found = Mutex([Float]())
        let errors = try LocalRanks(ranks).perform { (group) throws(DiffError) in
            var options = SessionOptions()
            (options.threads, options.ranks) = (1, group)
            let state = try subject.model.session(plan, options).sample(subject.request).state
            if group.rank == 0 { found.withLock { $0 = state } }
        }
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        return found.withLock { $0 }
    }

    /// The sites of `model` of which none is within another, in order.
    private func leaves(_ model: Model) -> [String] {
        let layout = model.layout
        let frames = Set(layout.sites.compactMap { $0.parent?.number })
        return layout.sites.indices.filter { !frames.contains($0) }.map { layout.sites[$0].name }
    }

    /// Whatever works on what other components gave gets it, wherever the cut falls.
    @Test(arguments: 0..<4) func everyCutIsTheSimulation(_ number: Int) throws {
        let subject = subjects[number]
        let leaves = leaves(subject.model)
        for cut in 1..<leaves.count {
            let lists = [Array(leaves[..<cut]), Array(leaves[cut...])]
            let stride = 1 + cut % 2
            let simulation = PlainAsync(lists, stride: stride, warmUp: 1, timeShift: false, isReleased: false)
            let expected = try subject.run(Plan([simulation])).state
            let ours = try subject.run(plan(.modules(lists), 2, stride: stride)).state
            #expect(sameBits(ours, expected), "\(subject.name), cut before \(leaves[cut]), stride \(stride)")
            if cut % 3 == 0 {
                let ranks = try onRanks(subject, plan(.modules(lists), 2, stride: stride, .mpi), 1 + stride)
                #expect(sameBits(ranks, expected), "\(subject.name), ranks, cut before \(leaves[cut])")
            }
        }
    }

    /// A middle of twelve blocks between small ends: whole modules cannot be even.
    private func deep() throws -> AsyncSubject {
        var unet = TinyUNet()
        (unet.blocks, unet.channels) = (6, [8, 32])
        return AsyncSubject(
            name: "deep", model: try Model(unet.writePipeline(directory, as: "deep")), request: subjects[0].request)
    }

    @Test func balancedCutsFallWithinTransformers() throws {
        let subject = try deep()
        var inner = 0
        for components in 2...4 {
            let parts = try subject.model.preview(plan(.balanced, components), steps: 9).components
            inner += parts.flatMap(\.modules).filter { $0.contains("transformer_blocks") }.count
            let largest = try #require(parts.map(\.share).max())
            #expect(largest < 1.1 / Double(components), "\(components): \(largest)")
            #expect(parts.reduce(0) { $0 + $1.share } < 1.000001)

            let lists = parts.map(\.modules)
            let simulation = PlainAsync(lists, stride: 1, warmUp: 1, timeShift: false, isReleased: false)
            let expected = try subject.run(Plan([simulation])).state
            #expect(try sameBits(subject.run(plan(.modules(lists), components)).state, expected))
            // At the size of the preview, which is that of the request.
            let sequential = try subject.run(plan(.balanced, components))
            #expect(sequential.statistics.allocationsAfterFirstStep == 0)
            #expect(try sameBits(subject.run(plan(.balanced, components, .threads)).state, sequential.state))
            #expect(try sameBits(onRanks(subject, plan(.balanced, components, .mpi), components), sequential.state))
        }
        #expect(inner > 0)
    }

    /// Where whole modules are as even, they stay whole.
    @Test func modulesStayWholeWhereNothingIsGained() throws {
        let parts = try subjects[1].model.preview(plan(.balanced, 2), steps: 9).components
        #expect(parts.map(\.modules) == [["blocks.0"], ["blocks.1"]])
    }

    @Test func aRankHasItsPartOfATransformer() throws {
        let subject = try deep()
        let path = subject.model.path
        let asked = try plan(.balanced, 2, .mpi)
        let found = Mutex([Float]())
        let bytes = Mutex([0, 0])
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            var (own, session) = (ModelOptions(), SessionOptions())
            (own.ranks, own.settings.ranks) = (group, asked.json)
            (session.ranks, session.threads) = (group, 1)
            let model = try Model(path, own)
            bytes.withLock { $0[group.rank] = model.bytes }
            let state = try model.session(asked, session).sample(subject.request).state
            if group.rank == 0 { found.withLock { $0 = state } }
        }
        #expect(errors == [nil, nil])
        let lists = try subject.model.preview(plan(.balanced, 2), steps: 9).components.map(\.modules)
        #expect(try sameBits(found.withLock { $0 }, subject.run(plan(.modules(lists), 2)).state))
        #expect(bytes.withLock { $0.allSatisfy { $0 < subject.model.bytes * 3 / 4 } })
    }
}

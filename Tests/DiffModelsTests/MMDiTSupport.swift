import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

func load(
    _ tiny: TinyMMDiT, _ tensors: [String: Tensor]? = nil, _ options: Weights.Options = Weights.Options()
) throws -> MMDiT {
    let directory = try ScratchDirectory()
    try directory.write(tensors ?? tiny.tensors(), as: "weights.safetensors")
    let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
    return try MMDiT(
        MMDiTConfiguration(JSONObject(tiny.config, source: "config.json")), Weights(table, options: options))
}

struct MMDiTInputs {
    var x, t, states, pooled: Tensor

    init(_ tiny: TinyMMDiT, height: Int = 8, width: Int = 6) throws {
        var numbers = Numbers(99)
        x = try numbers.tensor([2, tiny.channels, height, width])
        states = try numbers.tensor([2, 5, tiny.textWidth])
        pooled = try numbers.tensor([2, tiny.pooledWidth])
        t = try Tensor([987.5, 12.25], Shape(2))
    }

    func row(_ index: Int) throws -> MMDiTInputs {
        var row = self
        (row.x, row.t) = (try x.rows(index, 1), try t.rows(index, 1))
        (row.states, row.pooled) = (try states.rows(index, 1), try pooled.rows(index, 1))
        return row
    }
}

func forward(
    _ network: MMDiT, _ inputs: MMDiTInputs, threads: Int = 1, _ methods: [any Acceleration] = []
) throws -> [Float] {
    let run = Run(pool: try WorkerPool(threads: threads), budget: nil, stack: AccelerationStack(methods))
    try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: inputs.x.shape[0]))
    var conditioning = Conditioning(states: inputs.states)
    conditioning.pooled = inputs.pooled
    return try network(inputs.x, t: inputs.t, network.prepare(conditioning, run), run).array
}

/// One of the forms of published networks: plain, with norms of heads, with second attentions besides, without a table of positions.
func tinyMMDiT(_ form: Int) -> TinyMMDiT {
    var tiny = TinyMMDiT()
    tiny.normalisesHeads = form == 1 || form == 2
    tiny.dualAttention = form == 2 ? [0, 2] : []
    tiny.storesPositions = form != 3
    return tiny
}

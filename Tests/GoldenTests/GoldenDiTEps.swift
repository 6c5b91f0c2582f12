import DiffAccel
import DiffTensor

/// `l2c_dit_eps`: a network whose residual stream is so small that the epsilon of its norms shows.
enum GoldenDiTEps {
    /// NOTES.md: largest difference.
    static let forward = GoldenTolerance.absolute(2e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("a.x", "a.t", "a.y")
        var inputs = NamedInputs()
        inputs.tensors = ["x": try fixture.tensor("a.x"), "t": try fixture.times("a.t")]
        inputs.integers = ["y": try fixture.integers("a.y")]
        guard let out = try Model(fixture.path).forward(inputs)["out"] else { return report.fail("a.out", "no output") }
        try report.compare("a.out", out, forward)
    }
}

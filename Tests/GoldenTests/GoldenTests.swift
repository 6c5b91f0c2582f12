import DiffTensor
import Testing

/// One test over all fixtures, so that the output reads from top to bottom: a line for each, then what was left out.
@Suite struct GoldenTests {
    @Test func everyRecordedOutputIsReproduced() throws {
        let directories = GoldenRoots.directories
        var unchecked: [String] = []
        var notCovered: [String] = []
        var checks = 0
        for (name, path) in directories {
            guard let check = GoldenCheck.named(name) else {
                notCovered.append(name)
                continue
            }
            checks += 1
            do {
                let fixture = try GoldenFixture(path: path)
                var report = GoldenReport(fixture)
                do { try check.run(fixture, &report) } catch { report.fail("check", "stopped by \(error)") }
                report.close()
                print(report.line)
                if GoldenRoots.isVerbose { for line in report.details { print(line) } }
                for failure in report.failures { Issue.record(Comment(rawValue: failure)) }
                for (reason, keys) in report.unchecked.sorted(by: { $0.key < $1.key }) {
                    unchecked.append("\(name): \(keys.joined(separator: " ")): \(reason)")
                }
            } catch {
                print("\(name): could not be read: \(error)")
                Issue.record("\(name): could not be read: \(error)")
            }
        }
        print("not checked:")
        for line in unchecked { print("  \(line)") }
        for name in notCovered { print("  \(name): not covered") }
        if unchecked.isEmpty && notCovered.isEmpty { print("  nothing") }
        if GoldenRoots.isStrict {
            for name in notCovered { Issue.record("\(name): not covered") }
        }
        #expect(checks > 0, "no fixture was found under \(GoldenRoots.roots)")
    }

    @Test func theLongestPrefixDecides() {
        #expect(GoldenCheck.named("l2c_dit")?.prefix == "l2c_dit")
        #expect(GoldenCheck.named("l2c_dit_small")?.prefix == "l2c_dit")
        #expect(GoldenCheck.named("l2c_dit_eps_b")?.prefix == "l2c_dit_eps")
        #expect(GoldenCheck.named("l2c_dit_diffusers")?.prefix == "l2c_dit_diffusers")
        #expect(GoldenCheck.named("something_else") == nil)
    }
}

import ArgumentParser
import DiffAccel
import Glibc

/// The program: its subcommands, and what becomes of an error.
@main
struct DiffAccelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diffaccel",
        abstract: "Samples diffusion models on CPUs, and skips what need not be computed.",
        discussion: """
            Examples:
              diffaccel demo
              diffaccel sample Models/fashion-dit --labels 3,5 --count 4 --steps 50 --out grid.png
              diffaccel learn router Models/fashion-dit --trajectory own --steps 200 --out router.json
              diffaccel bench Models/fashion-dit --plan alternate --plan interval:3

            Exit codes: 0 done, 1 failed (the reason is on standard error), 64 wrong usage, 130 stopped by Ctrl-C.
            """,
        version: "diffaccel \(Library.version)",
        subcommands: [
            InfoCommand.self, SampleCommand.self, GenerateCommand.self, BenchCommand.self, PlanCommand.self,
            LearnCommand.self, DemoCommand.self, TokenizeCommand.self,
        ])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as DiffError where error.code == .cancelled {
            Terminal.say("diffaccel: cancelled; nothing was written")
            Glibc.exit(130)
        } catch let error as DiffError {
            Terminal.say("diffaccel: \(error.message)")
            Glibc.exit(1)
        } catch {
            exit(withError: error)
        }
    }
}

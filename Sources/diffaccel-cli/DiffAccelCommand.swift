import ArgumentParser
import CCommandLine
import DiffAccel
import DiffCheckpoint
import Glibc

/// The program: its subcommands, and what becomes of an error.
@main
struct DiffAccelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diffaccel",
        abstract: "Samples diffusion and autoregressive models on CPUs, and skips what need not be computed.",
        discussion: """
            Examples:
              diffaccel demo
              diffaccel sample Models/fashion-dit --labels 3,5 --count 4 --steps 50 --out grid.png
              diffaccel sample Models/fashion-dit --labels sneaker --plan alternate --out - | display
              diffaccel sample Models/tiny-llada --prompt "And it came to pass" --length 32 --plan dkv:decode:8 --live
              diffaccel learn router Models/fashion-dit --trajectory own --steps 200 --out router.json
              diffaccel bench Models/fashion-dit --plan alternate --plan interval:3

            The name - stands for standard output where a file is written, and for standard input where a text or a plan is read; a \
            file called so is ./-.

            Exit codes: 0 done; 1 failed, the reason is on standard error; 64 wrong usage; 130 stopped by Ctrl-C. Output that \
            cannot be written is a failure, also when its reader has gone. With --json the reason is one line of JSON: {"error": \
            {"name": "DA_IO", "status": -2, "message": "..."}, "exit_code": 1}; of wrong usage the name is "USAGE".
            """,
        version: "diffaccel \(Library.version)",
        subcommands: [
            InfoCommand.self, SampleCommand.self, BenchCommand.self, PlanCommand.self, LearnCommand.self,
            DemoCommand.self,
            TokenizeCommand.self,
        ])

    static func main() {
        StandardOutput.prepare()
        let arguments = Self.arguments
        let words = ModelOptionWords.carried(arguments)
        let ending = Ending(words)
        do {
            guard arguments.first != "generate" else {
                throw UsageError(
                    "there is no generate: texts are sampled too, by diffaccel sample MODEL --prompt \"...\"")
            }
            var command = try parseAsRoot(words)
            try command.run()
            try StandardOutput.finish()
        } catch {
            ending.leave(error)
        }
    }

    /// What follows the program's name.
    private static var arguments: [String] {
        let count = cc_argument_count()
        guard count > 1 else { return [] }
        return (1..<count).compactMap { index in unsafe cc_argument(index).map { unsafe String(cString: $0) } }
    }
}

/// How the program ends when something was thrown.
struct Ending {
    /// What the parser was given.
    private let words: [String]
    /// Whether reasons are told as JSON.
    private let isJSON: Bool

    init(_ words: [String]) {
        self.words = words
        isJSON = words.prefix { $0 != "--" }.contains("--json")
    }

    /// Tells the reason of `error` and ends the process.
    func leave(_ error: any Error) -> Never {
        if let stop = error as? Stopped { end(130, DiffError(.cancelled, stop.message)) }
        if let failure = error as? DiffError {
            guard failure.code != .cancelled else {
                end(130, DiffError(.cancelled, "cancelled; nothing was written"))
            }
            end(1, failure)
        }
        if let usage = error as? UsageError {
            if isJSON {
                tell(name: "USAGE", status: nil, usage.message, 64)
            } else {
                Terminal.say("Error: \(usage.message)")
            }
            Glibc.exit(64)
        }
        let code = DiffAccelCommand.exitCode(for: error)
        let text = DiffAccelCommand.fullMessage(for: error)
        guard code != .success else {
            // Help, the version: a result.
            StandardOutput.say(text)
            do throws(DiffError) {
                try RequestTable.print(askedBy: words)
                try StandardOutput.finish()
            } catch {
                end(1, error)
            }
            Glibc.exit(0)
        }
        if isJSON {
            tell(name: "USAGE", status: nil, DiffAccelCommand.message(for: error), code.rawValue)
        } else if !text.isEmpty {
            Terminal.say(text)
        }
        Glibc.exit(code.rawValue)
    }

    private func end(_ code: Int32, _ failure: DiffError) -> Never {
        if isJSON {
            tell(name: failure.code.name, status: failure.code.rawValue, failure.message, code)
        } else {
            Terminal.say("diffaccel: \(failure.message)")
        }
        // What was printed before the failure is printed; that it cannot be is no news now.
        StandardOutput.flush()
        Glibc.exit(code)
    }

    private func tell(name: String, status: Int32?, _ message: String, _ code: Int32) {
        var error: [String: JSON] = ["name": .string(name), "message": .string(message)]
        error["status"] = status.map { .integer(Int($0)) }
        Terminal.say(JSON.object(["error": .object(error), "exit_code": .integer(Int(code))]).serialized())
    }
}

/// A run that Ctrl-C ended after it had kept what it had.
struct Stopped: Error {
    /// Where it stopped and how to resume.
    let message: String
}

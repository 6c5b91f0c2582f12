import ArgumentParser
import DiffAccel

/// `diffaccel learn`: routers, pruned networks and weights from data.
struct LearnCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "learn",
        abstract: "Learns which work can be skipped, or weights.",
        discussion: """
            Examples:
              diffaccel learn router Models/fashion-dit --data train.safetensors --steps 2000 --out router.json
              diffaccel learn prune Models/fashion-dit --data train.safetensors --pattern 1:2 --out pruned
              diffaccel learn finetune pruned --data train.safetensors --distillation masked \
                --teacher Models/fashion-dit --groups 1:2x6 --out tuned
              diffaccel learn specialise var-d16 --role refiner --draft-scales 8 --teacher var-d30 \
                --tokens tokens.npy --labels labels.npy --out refiner

            The first Ctrl-C stops after the step at hand and keeps the state; the same command with --resume continues, bit for \
            bit as if it had never stopped. The second one ends the program at once.
            """,
        subcommands: [Router.self, Prune.self, Finetune.self, Specialise.self])
}

import DiffAccel
import DiffModels

/// Texts on the terminal as they appear, out of order: on the second screen, so that nothing of it remains.
final class LiveText {
    private let tokenizer: Tokenizer?
    private let mask: Int?
    private let isWanted: Bool
    private var isOpen = false
    private var texts: [Int: String] = [:]

    init(_ model: Model, isWanted: Bool) {
        tokenizer = try? model.tokenizer
        mask = model.maskToken
        self.isWanted = isWanted && Terminal.isWatched
    }

    /// Shows the texts of a pass; what it revealed stands out.
    func show(_ event: TextEvent, _ step: Int, of steps: Int) {
        guard isWanted else { return }
        if !isOpen { Terminal.write("\u{1b}[?1049h\u{1b}[?25l") }
        isOpen = true
        for text in event.texts {
            let fresh = Set(text.revealed)
            var line = ""
            for (position, token) in text.sequence.enumerated() {
                if token == mask {
                    line += "\u{1b}[2m░\u{1b}[0m"
                } else {
                    let piece = tokenizer?.decode([token], skipsSpecial: false) ?? "\(token) "
                    line += fresh.contains(position) ? "\u{1b}[1;32m\(piece)\u{1b}[0m" : piece
                }
            }
            texts[text.prompt] = line
        }
        var screen = "\u{1b}[H\u{1b}[J"
        for prompt in texts.keys.sorted() { screen += (texts[prompt] ?? "") + "\n\n" }
        Terminal.write(screen + "pass \(step) of \(steps), \(event.queryRows) query rows\n")
    }

    /// Back to the first screen.
    func close() {
        guard isOpen else { return }
        Terminal.write("\u{1b}[?25h\u{1b}[?1049l")
        isOpen = false
    }
}

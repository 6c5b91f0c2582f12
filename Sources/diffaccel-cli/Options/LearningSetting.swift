import ArgumentParser
import DiffAccel

/// A setting as it is written on the command line: `name=value`. A value that is no JSON is a text.
struct LearningSetting: ExpressibleByArgument {
    let name: String
    let value: JSON

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else { return nil }
        name = String(argument[..<equals])
        let text = String(argument[argument.index(after: equals)...])
        value = (try? JSON(parsing: text, source: name)) ?? .string(text)
    }
}

/// Groups of blocks as they are written on the command line: `1:2,1:2,2:3`, or `1:2x6` for six equal ones.
struct BlockGroups: ExpressibleByArgument {
    /// [kept, blocks] of each group.
    let json: JSON

    init?(argument: String) {
        var groups: [JSON] = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let times = part.split(separator: "x", omittingEmptySubsequences: false)
            let pair = (times.first ?? "").split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
            guard times.count <= 2, pair.count == 2, let kept = pair[0], let blocks = pair[1],
                let count = times.count == 2 ? Int(times[1]) : 1, (1...1000).contains(count)
            else { return nil }
            groups += Array(repeating: .array([.integer(kept), .integer(blocks)]), count: count)
        }
        json = .array(groups)
    }
}

/// Block numbers as they are written on the command line: `0,2,5-8`.
struct BlockList: ExpressibleByArgument {
    /// The numbers.
    let json: JSON

    init?(argument: String) {
        var blocks: [JSON] = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last,
                last < 100_000
            else { return nil }
            blocks += (first...last).map { .integer($0) }
        }
        json = .array(blocks)
    }
}

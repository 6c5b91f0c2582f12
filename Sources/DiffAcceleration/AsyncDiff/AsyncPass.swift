import DiffTensor

/// Which modules an evaluation computes.
enum AsyncPass: Equatable {
    /// All: a whole evaluation.
    case whole
    /// Those of one component; they take the place of what is kept of it.
    case component(Int)
    /// Those of the last component once more, at a time of its own; nothing of it is kept.
    case extra
    /// None.
    case replay

    /// As calls carry it.
    var number: Int {
        switch self {
        case .whole: 0
        case .replay: 1
        case .extra: 2
        case .component(let component): 3 &+ component
        }
    }

    init(_ number: Int) {
        switch number {
        case 0: self = .whole
        case 1: self = .replay
        case 2: self = .extra
        default: self = .component(number &- 3)
        }
    }

    /// Whether the modules of `component`, one of `count`, are computed.
    func computes(_ component: Int, of count: Int) -> Bool {
        switch self {
        case .whole: true
        case .component(let active): active == component
        case .extra: component == count &- 1
        case .replay: false
        }
    }
}

/// The times of a run's calls, and those that components are told.
struct AsyncTimes {
    private let times: [Float]
    private let isShifted: Bool

    /// `times` of all calls; with `isShifted` components are told that of the call before.
    init(_ times: [Float], isShifted: Bool) { (self.times, self.isShifted) = (times, isShifted) }

    /// Whether no call follows call `index`.
    func isLast(_ index: Int) -> Bool { index &+ 1 >= times.count }

    /// `call` as an evaluation of the kind `pass`, told the time of call `index`.
    func pass(_ pass: AsyncPass, _ index: Int, _ call: Call) -> Call {
        var call = call
        call.pass = pass.number
        call.time = times.at(isShifted ? index &- 1 : index) ?? call.time
        return call
    }
}

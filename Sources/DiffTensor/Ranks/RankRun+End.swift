/// How a run ends, on all ranks.
extension RankRun {
    /// Ends the run, on all ranks: with `error`, or with nil when all is done. Returns when all have ended it, and then every message has
    /// been received or dropped.
    ///
    /// Throws the error that all ranks are to report: `error` itself where it arose here, else that of the rank at fault; nothing when all
    /// ended it with nil.
    public func end(_ error: DiffError? = nil) throws(DiffError) {
        if let error { throw failed(error) }
        guard !isOver else { return }
        tell(nil)
        do throws(DiffError) {
            try wait { () throws(DiffError) in isQuiet(waitingFor: others) }
        } catch {
            throw failed(error)
        }
        finish()
    }

    /// Ends the run on all ranks with `error`, and gives what this one is to report: `error` where it arose here, else that of the rank at
    /// fault. For `catch`: `throw run.failed(error)`.
    public func failed(_ error: DiffError) -> DiffError {
        guard !isOver else { return failure?.error ?? error }
        if failure == nil {
            let text = error.code == .cancelled ? "was cancelled" : "failed: \(error.message)"
            failure = RankFailure(origin: rank, error: DiffError(error.code, "\(group.name(rank)) \(text)"))
            own = error
        }
        tell(failure)
        drop()
        finish()
        return own ?? failure?.error ?? error
    }

    /// `error`, which every rank finds by itself: the text needs no rank that failed.
    func agreed(_ error: DiffError) -> DiffError {
        (failure, own) = (RankFailure(origin: rank, error: error), error)
        return error
    }

    private func tell(_ failure: RankFailure?) {
        for other in others.each {
            let message = RankControl.end(messages: sent.at(other) ?? 0, failure: failure)
            try? group.transport.tell(message.bytes(run: number), to: other)
        }
    }

    /// After a failure: takes in what others sent before they heard of it, for as long as the time limit allows.
    private func drop() {
        guard group.lost == nil else { return }
        let began = Machine.seconds
        let pause = Pause()
        // A rank that has not begun the run will see that it is over when it does.
        while !isQuiet(waitingFor: others.each.filter({ group.hasBegun($0, number) })) {
            guard Machine.seconds - began < options.timeout, (try? group.listen()) != nil, (try? look()) != nil
            else { return }
            pause.rest()
        }
    }

    /// Whether these ranks have ended the run and everything sent in it was received, here by dropping it when nobody asked for it.
    private func isQuiet(waitingFor ranks: [Int]) -> Bool {
        var isQuiet = true
        for message in open.each { _ = try? isDone(message) }
        for other in ranks.each {
            guard let end = group.end(of: other, run: number) else {
                isQuiet = false
                continue
            }
            while (received.at(other) ?? 0) < end.messages, group.discard(from: other) {
                received.update(at: other) { $0 &+= 1 }
            }
            if (received.at(other) ?? 0) < end.messages {
                isQuiet = false
                continue
            }
            // All is here that was sent: what is still expected will not come.
            for message in open.each where message.peer == other { message.withdraw() }
        }
        return isQuiet && open.isEmpty
    }
}

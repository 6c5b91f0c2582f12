"""How long a Stable Diffusion run goes on after it was cancelled, in each of its stages: encoders, U-Net, decoder.

    python Benchmarks/cancel_latency.py FOLDER --trials 20 --json out/cancel.json

FOLDER is a pipeline of full size; random weights do (times do not depend on them). A run is cancelled from another thread at an instant drawn
from the stage's length, which a run before has shown; what is measured is the time from the call of `cancel` until `sample` returns, by the
clock and as processor time over threads, which others on the machine do not lengthen. The library looks for a stop before every block, so
that the longest block of a stage is what nothing may exceed but by the clock's chance.
"""

import random
import statistics
import threading
import time

import common
import diffaccel

STAGES = ("encode", "denoise", "decode")


class Run:
    """A request in a thread of its own, and the instants at which its stages ended."""

    def __init__(self, session, request):
        self.session, self.request = session, request
        self.ends, self.changed = {}, threading.Condition()
        self.finished = self.worked = self.error = None
        self.thread = threading.Thread(target=self.work)
        self.began = time.monotonic()
        self.thread.start()

    def work(self):
        try:
            self.session.sample(callback=self.observe, **self.request)
        except diffaccel.Cancelled as error:
            self.error = error
        self.finished, self.worked = time.monotonic(), time.process_time()

    def observe(self, event):
        with self.changed:
            if event.stage != "denoise" or event.step == event.steps:
                self.ends[event.stage] = time.monotonic()
            self.changed.notify_all()

    def started(self, stage):
        """The instant at which `stage` began, waited for."""
        position = STAGES.index(stage)
        if position == 0:
            return self.began
        with self.changed:
            self.changed.wait_for(lambda: STAGES[position - 1] in self.ends)
            return self.ends[STAGES[position - 1]]


def latency(session, request, stage, delay):
    """Seconds from cancelling `delay` seconds into `stage` until the run has returned, by the clock and of processor time; None when it was over
    before."""
    run = Run(session, request)
    left = run.started(stage) + delay - time.monotonic()
    if left > 0:
        time.sleep(left)
    asked, worked = time.monotonic(), time.process_time()
    session.cancel()
    run.thread.join()
    return None if run.error is None else (run.finished - asked, run.worked - worked)


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None, threads=2)
    parser.add_argument("folder")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    facts, chance = common.machine(), random.Random(options.seed)
    request = dict(prompt="a photo of a cat on a red chair", steps=1, height=options.pixels, width=options.pixels)
    model = diffaccel.Model(options.folder, follow_links=True)
    session = model.session(threads=options.threads)
    session.sample(**request)
    whole = Run(session, request)
    whole.thread.join()
    instants = [whole.began] + [whole.ends[stage] for stage in STAGES]
    lengths = {stage: end - begin for stage, begin, end in zip(STAGES, instants, instants[1:])}
    rows, figures = [], {}
    for stage in STAGES:
        found = []
        for trial in range(options.trials):
            # A draw in each of as many equal parts, so that no part of the stage is left out.
            found.append(latency(session, request, stage, lengths[stage] * (trial + chance.random()) / options.trials))
        clock = [1000 * pair[0] for pair in found if pair]
        worked = [1000 * pair[1] / options.threads for pair in found if pair]
        figures[stage] = {"length": lengths[stage], "clock": clock, "processor": worked}
        cells = [f"{function(values):.0f}" for values in (clock, worked) for function in (statistics.median, max)]
        rows.append([stage, f"{lengths[stage]:.2f} s", *cells, str(len(clock))])
        print(rows[-1], flush=True)
    table = common.table(["stage", "length", "median, ms", "longest", "median of processor time over threads", "longest", "runs"], rows)
    common.finish(f"Cancelling at {options.pixels} px", facts, table, figures, options.json)


if __name__ == "__main__":
    main()

"""What the executor `threads` gives on one machine, beside plain evaluation on all its threads: components side by side, and halves of the guidance.

    python Benchmarks/async_threads.py --pipeline FOLDER --size 256 --steps 10 --threads 2 --json out/async_threads.json

All take the same threads. Seconds are those of the network calls, which a warm-up run precedes; contenders take turns, and ratios are medians of those
within a round. Components that one thread each evaluates at the same time do the work of a plain call once, as all threads together do; they can only
be faster where these wait for one another, or are kept from working by too small parts.
"""

import pathlib

import common
import diffaccel
import numpy as np

#: Contenders: a plan, and options of the request.
CONTENDERS = {
    "plain": (None, {}),
    "plain, halves of the guidance side by side": (None, {"guidance_execution": "split"}),
    "2 components, one after the other": ({"components": 2}, {}),
    "2 components on threads": ({"components": 2, "executor": "threads"}, {}),
    "2 components, stride 2, one after the other": ({"components": 2, "stride": 2}, {}),
    "2 components, stride 2, on threads": ({"components": 2, "stride": 2, "executor": "threads"}, {}),
}


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None, repeat=3)
    parser.add_argument("--pipeline", type=pathlib.Path, default=common.ROOT / "Models" / "emoji-sd")
    parser.add_argument("--size", type=int, help="pixels of a side (the model's own)")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=1)
    given = parser.parse_args()
    facts, calls = common.machine(np), {name: [] for name in CONTENDERS}
    options = {"prompt": "red apple", "steps": given.steps, "sampler": "ddim", "decode": False, "images_per_prompt": given.pictures}
    if given.size:
        options.update(height=given.size, width=given.size)
    with diffaccel.Model(given.pipeline) as model:
        def run(name):
            plan, more = CONTENDERS[name]
            plan = diffaccel.Plan() if plan is None else diffaccel.Plan(**{"async": {"split": "balanced", **plan}})
            with model.session(plan, threads=given.threads) as session:
                result = session.sample(**{**options, **more})
            calls[name].append(sum(step["seconds"] for step in result.stats["steps"]))

        common.alternate({name: (lambda name=name: run(name)) for name in CONTENDERS}, given.repeat)
    # The first turn of all is unmeasured.
    calls = {name: seconds[1:] for name, seconds in calls.items()}
    rows = [[name, f"{np.median(seconds):.3f}", f"{common.paired_ratio(calls['plain'], seconds):.2f}"] for name, seconds in calls.items()]
    size = f"{given.size} x {given.size} pixels, " if given.size else ""
    text = f"{given.pipeline.name}, {size}{given.pictures} picture{'s' * (given.pictures > 1)}, {given.steps} DDIM steps with guidance, {given.threads} threads, " \
        f"medians of {given.repeat} runs\n\n" + common.table(["", "seconds", "speed-up"], rows)
    common.finish("Components on threads of one machine", facts, text, calls, given.json)


if __name__ == "__main__":
    main()

"""What LiteFocus and its variants do to sounds of tiny-audio by their length: distance from the dense model's of the same noise, instruments
recognised, Fréchet distance, drift.

    python Benchmarks/litefocus_quality.py --sounds 6 --json out/litefocus_quality.json --out .cache/litefocus

The captions are those of Tools/music_captions.py, every other instrument in turn, each with a seed of its own that all contenders share,
the same for all lengths. A sound's spectrogram is judged in windows of 10.24 seconds, as long as the model was trained on, by the
classifier of Tools/music_classifier.py. "Recognised" is the share of windows in which the family of instruments asked for is heard. The
Fréchet distance is that of the windows' features to those of held-out renderings: it falls with their number, so that only contenders of a
length compare. "Drift" is how far the features of a sound's last window are from those of its first, 1 being the distance of two renderings
of one family. "Error" is that of the final latents, as a part of their norm. Verdicts are kept in --out, so that an interrupted run goes
on.
"""

import json
import pathlib
import random
import time

import numpy as np
import torch

import common

ASKED = 11  # what the captions are drawn from: not the seed of the clips


def contenders(levels):
    """Name: settings of the plan's entry, or None for the dense model."""
    return {
        "dense": None, "as published": {}, "every level": {"levels": levels}, "every attention": {"scope": "all"},
        "keys once": {"deduplicate": True}, "keys by step": {"keys": "step"}, "keys by run": {"keys": "run"},
        "window of 12": {"window": 12}, "more keys early": {"early_ratio": 0.4}, "own frequency alone": {"cross_frequency": False},
        "random keys alone": {"same_frequency": False},
    }


def attended_levels(folder):
    kinds = json.loads((folder / "unet" / "config.json").read_text())["down_block_types"]
    return [level for level, kind in enumerate(kinds) if "Attn" in kind]


class Judge:
    """The classifier, and the features of what fluidsynth plays."""

    def __init__(self, cache):
        from evaluate_fashion import frechet_distance
        from music_classifier import CACHE, describe, load_or_train, targets
        from music_data import TRAINED, load, to_float

        self.distance = frechet_distance
        self.classifier, clips = load_or_train(cache=cache or CACHE), load()
        rendered = describe(self.classifier, to_float(clips["audio"][TRAINED:]))[2]
        families = targets(clips)[TRAINED:, 0]
        self.reference = rendered
        groups = [rendered[families == family] for family in families.unique()]
        self.unit = float(torch.cat([torch.pdist(group) for group in groups]).mean())

    @torch.inference_mode()
    def verdict(self, mel, families):
        """Of spectrograms [sounds, windows, frames, bins] and the number of each sound's family."""
        count, windows = mel.shape[:2]
        features = torch.cat([self.classifier.features(some) for some in mel.flatten(0, 1).split(25)])
        hits = (self.classifier.family(features).argmax(1).view(count, windows) == families[:, None]).double()
        features = features.view(count, windows, -1)
        drift = float((features[:, -1] - features[:, 0]).norm(dim=1).mean()) / self.unit if windows > 1 else None
        return {"recognised": float(hits.mean()), "last recognised": float(hits[:, -1].mean()), "drift": drift,
                "frechet": self.distance(features.flatten(0, 1), self.reference)}


class Contest:
    def __init__(self, given):
        import diffaccel
        from music_captions import caption
        from music_data import FAMILIES, RATE, SAMPLES, facts
        from music_mel import HOP

        torch.set_num_threads(given.threads)
        self.given, self.diffaccel, self.frames, self.seconds = given, diffaccel, SAMPLES // HOP, SAMPLES / RATE
        self.model = diffaccel.Model(given.model)
        self.judge = Judge(given.classifier)
        asked, chance = [facts(2 * index, ASKED) for index in range(given.sounds)], random.Random(ASKED)
        self.captions = [caption(about, chance, full=True) for about in asked]
        self.families = torch.tensor([FAMILIES.index(about["family"]) for about in asked])
        given.out.mkdir(parents=True, exist_ok=True)

    def draw(self, settings, windows, count):
        """Spectrograms [count, windows, frames, bins], latents [count, ...], seconds of processor time and operations of all."""
        mel, latents, flops, began = [], [], 0.0, time.process_time()
        batch = max(1, self.given.batch // windows)
        plan = None if settings is None else self.diffaccel.Plan(litefocus=settings)
        with self.model.session(plan, threads=self.given.threads) as session:
            for first in range(0, count, batch):
                numbers = range(first, min(count, first + batch))
                result = session.sample(prompt=[self.captions[n] for n in numbers], seconds=windows * self.seconds, sampler=self.given.sampler,
                                        steps=self.given.steps, guidance=self.given.guidance,
                                        seeds=[self.given.seed + n for n in numbers])
                frames = np.array(result.tensor("mel"))[:, : windows * self.frames]
                mel.append(torch.from_numpy(frames).unflatten(1, (windows, self.frames)))
                latents.append(np.array(result.latents))
                flops += result.stats["totals"]["flops"]
        return torch.cat(mel), np.concatenate(latents), time.process_time() - began, flops

    def of_length(self, windows, names):
        """The verdict of each contender for sounds of so many windows."""
        count, dense, found = self.given.sounds, None, {}
        for name, settings in names.items():
            path = self.given.out / f"{windows}-{name.replace(' ', '_')}.json"
            if path.exists():
                found[name] = json.loads(path.read_text())
                continue
            if name != "dense" and dense is None:
                dense = self.latents_of_dense(windows, count)
            mel, latents, processor, flops = self.draw(settings, windows, count)
            if name == "dense":
                dense = latents
                np.save(self.given.out / f"{windows}-dense.npy", latents)
            error = float(np.linalg.norm(latents - dense) / np.linalg.norm(dense))
            found[name] = {"error": error, "processor": processor, "flops": flops, **self.judge.verdict(mel, self.families)}
            path.write_text(json.dumps(found[name]) + "\n")
            print(f"{windows} windows, {name}: {found[name]}", flush=True)
        return found

    def latents_of_dense(self, windows, count):
        path = self.given.out / f"{windows}-dense.npy"
        return np.load(path) if path.exists() else self.draw(None, windows, count)[1]

    def minute(self):
        """Seconds by the clock for a minute of sound, dense and as published; medians of the turns."""
        sessions = {"dense": self.model.session(None, threads=self.given.threads),
                    "as published": self.model.session("litefocus", threads=self.given.threads)}
        runs = {name: lambda session=session: session.sample(prompt=self.captions[0], seconds=60, steps=self.given.steps,
                                                             sampler=self.given.sampler, guidance=self.given.guidance,
                                                             seed=self.given.seed)
                for name, session in sessions.items()}
        return {name: taken.median for name, taken in common.alternate(runs, self.given.repeat).items()}


def rows(found, sounds):
    dense = found["dense"]
    for name, one in found.items():
        drift = "" if one["drift"] is None else f"{one['drift']:.2f}"
        yield [name, f"{one['flops'] / dense['flops']:.2f}", f"{one['processor'] / sounds:.2f}", "" if name == "dense" else f"{one['error']:.3f}",
               f"{one['recognised']:.1%}", f"{one['last recognised']:.1%}", f"{one['frechet']:.2f}", drift]


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None, repeat=3)
    parser.add_argument("--model", type=pathlib.Path, default=common.ROOT / "Models" / "tiny-audio")
    parser.add_argument("--lengths", nargs="+", type=int, default=[1, 2, 4, 8], help="of sounds, in windows")
    parser.add_argument("--sounds", type=int, default=6, help="of each length")
    parser.add_argument("--sampler", default="dpmpp_2m")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=4, help="windows that are sampled together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classifier", help="where it is kept")
    parser.add_argument("--only", nargs="+", help="these contenders and the dense model")
    parser.add_argument("--out", type=pathlib.Path, default=common.ROOT / ".cache" / "litefocus")
    parser.add_argument("--no-minute", dest="minute", action="store_false")
    given = parser.parse_args()
    facts = common.machine(np, torch)
    contest = Contest(given)
    names = contenders(attended_levels(given.model))
    names = {name: one for name, one in names.items() if not given.only or name in ["dense", *given.only]}
    texts, figures = [], {}
    for windows in given.lengths:
        figures[windows] = found = contest.of_length(windows, names)
        seconds = windows * contest.seconds
        texts.append(f"{given.sounds} sounds of {seconds:g} s:\n\n" + common.table(
            ["", "operations", "processor time of a sound, s", "error", "recognised", "in the last window", "Fréchet distance", "drift"],
            rows(found, given.sounds)))
    if given.minute:
        figures["minute"] = contest.minute()
        texts.append("A minute of sound end to end: " + ", ".join(
            f"{name} {taken:.2f} s, {taken / 60:.3f} of real time" for name, taken in figures["minute"].items()) + ".")
    text = f"{given.steps} steps of {given.sampler}, guidance {given.guidance:g}, {given.threads} threads.\n\n" + "\n\n".join(texts)
    common.finish("LiteFocus by the length of sounds", facts, text, figures, given.json)


if __name__ == "__main__":
    main()

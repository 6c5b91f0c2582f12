"""Learn a Learning-to-Cache router for emoji-sd, on its own samples, and say what it saves and costs.

Prompts are encoded by the pipeline's own text encoder; the U-Net is the pipeline's, which predicts velocity, and the steps are the
scheduler's. The result is a plan for that many steps:

    python Tools/emoji_router.py --steps 20 --out Models/emoji-sd/plan-ddim20.json
    diffaccel sample Models/emoji-sd --prompt "red apple" --plan Models/emoji-sd/plan-ddim20.json --out apple.png
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))
import diffaccel  # noqa: E402

# Learned with; those that the verdict is about are others.
PROMPTS = [
    "grinning face", "crying face", "thumbs up", "red heart", "fire", "sun", "umbrella", "snowman", "dog face", "cat", "horse", "whale",
    "butterfly", "rose", "cactus", "banana", "pizza", "birthday cake", "cup of tea", "soccer ball", "guitar", "rocket", "bicycle", "train",
    "castle", "light bulb", "book", "key", "scissors", "clock", "flag", "arrow", "a blue frog", "green apple", "purple car", "a yellow house",
]  # fmt: skip
JUDGED = ["red apple", "octopus", "hamburger", "unicorn", "crown", "penguin", "a pink elephant", "blue sunflower"]


def embeddings(model, prompts):
    """Hidden states [n, tokens, width] of the prompts, padded as the pipeline's tokenizer pads."""
    folder = Path(model)
    config = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer" / "vocab.json").read_text())
    length, pad, end = config["model_max_length"], vocabulary[config["pad_token"]], vocabulary[config["eos_token"]]
    rows = np.full((len(prompts), length), pad, np.int64)
    with diffaccel.Tokenizer(folder / "tokenizer") as tokenizer:
        for row, prompt in zip(rows, prompts):
            tokens = tokenizer.encode(prompt, add_special=True)[:length]
            row[: len(tokens)] = tokens
            if len(tokens) == length:
                row[-1] = end
    with diffaccel.Model(folder / "text_encoder") as encoder:
        return encoder.forward(tokens=rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=ROOT / "Models" / "emoji-sd")
    p.add_argument("--steps", type=int, default=20, help="sampling steps that the router is for")
    p.add_argument("--guidance", type=float, default=5.0)
    p.add_argument("--iterations", type=int, default=800)
    p.add_argument("--batch", type=int, default=6)
    p.add_argument("--l1", type=float, default=1e-4, help="price of a score")
    p.add_argument("--threshold", type=float, default=0.5)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--state", help="file that an interrupted run goes on from")
    p.add_argument("--out", required=True)
    options = p.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        prompts = f"{folder}/prompts.safetensors"
        save_file({"prompt_embeds": embeddings(options.model, PROMPTS), "negative_prompt_embeds": embeddings(options.model, [""])}, prompts)
        resumed = {} if options.state is None else {"state": options.state, "resume": True}
        trainer = diffaccel.learn.router(
            options.model, sampling_steps=options.steps, steps=options.iterations, batch=options.batch, l1=options.l1, learning_rate=0.1,
            threshold=options.threshold, trajectory="own", guidance=options.guidance, seed=options.seed, threads=options.threads,
            prompts=prompts, progress=True, **resumed)
    plan = trainer.plan()
    plan.save(options.out)
    print(json.dumps({"removed of cached steps": round(trainer.describe()["removed"], 3)}))
    request = dict(prompt=JUDGED, guidance=options.guidance, seeds=list(range(len(JUDGED))), steps=options.steps, sampler="ddim", decode=False)
    with diffaccel.Model(options.model) as model:
        full = model.session(threads=options.threads).sample(**request).latents
        entry = plan.describe()["methods"][0]
        for name, other in {"learned": plan, "random of equal ratio": {**entry, "policy": "random", "seed": 7}, "alternate": {"policy": "alternate"}}.items():
            made = other if name == "learned" else diffaccel.Plan(l2c=other)
            with model.session(made, threads=options.threads) as session:
                result, estimate = session.sample(**request), session.estimate(**request)["flops"]
            error = float(np.sqrt(np.mean((result.latents - full) ** 2)))
            print(json.dumps({"plan": name, "ratio of operations": round(estimate["baseline"] / estimate["total"], 3), "error": round(error, 4)}))


if __name__ == "__main__":
    main()

"""What arithmetic in bf16 does to the bundled models: pictures and texts in f32 and in bf16 from the same noise, judged, without and with a plan.

    python Benchmarks/precision_quality.py --json out/precision_quality.json

Pictures of Fashion-MNIST are judged by Tools/evaluate_fashion.py (share recognised, Fréchet distance), emoji by Tools/evaluate_emoji.py. Beside
that stands how far the pictures are from those in f32, in grey levels; of texts the share of equal tokens, and the network's own bound in nats a token.
"""

import numpy as np
import torch

import common
import diffaccel
import evaluate_emoji
import evaluate_fashion
from bible_text import splits
from evaluate_llada import bound, load
from fashion_classifier import DEFAULT_CACHE
from fashion_data import DEFAULT_DATA, to_unit_range
from train_llada import token_stream, windows

MODELS = common.ROOT / "Models"
PRECISIONS = ("f32", "bf16")
CLASSES = 10
#: Model, plan, request.
FASHION = [("fashion-dit", None, {"sampler": "ddim", "steps": 20}), ("fashion-dit", "plan-ddim20.json", {"sampler": "ddim", "steps": 20}),
           ("fashion-uvit", None, {"steps": 10}), ("fashion-uvit", "plan-dpm20.json", {"steps": 10}), ("fashion-var", None, {}),
           ("fashion-var", "code.json", {})]
EMOJI = [(None, 20), ("plan-ddim20.json", 20)]
TEXTS = [None, {"variant": "decode", "refresh": 4}]


def session(name, plan, precision, threads):
    model = diffaccel.Model(MODELS / name, precision=precision)
    return model.session(plan=diffaccel.Plan.load(MODELS / name / plan) if plan else None, threads=threads)


def grey(images):
    """Pictures as those of the data set, [n,28,28]: those of the VAR have a margin and three channels."""
    if images.shape[1] == 28:
        return images[..., 0].copy()
    return np.rint(images[:, 2:30, 2:30].astype(np.float32).mean(-1)).astype(np.uint8)


def apart(pictures):
    """Mean difference of the two sets in levels of 0...255."""
    first, second = (pictures[precision].astype(np.int16) for precision in PRECISIONS)
    return float(np.abs(first - second).mean())


def fashion(options):
    judge, labels, rows = evaluate_fashion.Judge(options), np.repeat(np.arange(CLASSES), 10), []
    for name, plan, request in FASHION:
        pictures, verdicts = {}, {}
        for precision in PRECISIONS:
            drawing = session(name, plan, precision, options.threads)
            drawn = [grey(drawing.sample(labels=labels, seed=seed, **request).images) for seed in range(0, options.pictures, len(labels))]
            pictures[precision] = np.concatenate(drawn)
            verdicts[precision] = judge.verdict(to_unit_range(torch.from_numpy(pictures[precision])),
                                                torch.from_numpy(np.tile(labels, len(drawn))))
        cells = [f"{verdicts[p]['accuracy']:.3f}, {verdicts[p]['frechet']:.3f}" for p in PRECISIONS]
        rows.append([f"{name}, {plan or 'plain'}", *cells, f"{apart(pictures):.2f} levels"])
        print(*rows[-1], sep="  ", flush=True)
    return rows


def emoji(options):
    options.model = str(MODELS / "emoji-sd")
    judge, rows = evaluate_emoji.Judge(options), []
    names = [name[0] for name in judge.pictures["names"]]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[: options.emoji].tolist()
    prompts = [names[i] for i in order]
    for plan, steps in EMOJI:
        pictures, cells = {}, []
        for precision in PRECISIONS:
            drawing = session("emoji-sd", plan, precision, options.threads)
            drawn = [drawing.sample(prompt=part, steps=steps, guidance=5.0, seeds=[25 * i + j for j in range(len(part))]).images.copy()
                     for i, part in enumerate(prompts[at : at + 25] for at in range(0, len(prompts), 25))]
            pictures[precision] = np.concatenate(drawn)
            images = torch.from_numpy(pictures[precision]).permute(0, 3, 1, 2)
            right = judge.recognised(images, prompts)
            cells.append(f"{sum(right) / len(right):.3f}, {judge.frechet(images):.3f}")
        rows.append([f"emoji-sd, {plan or 'plain'}", *cells, f"{apart(pictures):.2f} levels"])
        print(*rows[-1], sep="  ", flush=True)
    return rows


def texts(options, prompt=64, length=64):
    network, tokenizer = load(MODELS / "tiny-llada")
    mask, rows = network.c["mask_token_id"], []
    data = windows(*token_stream(tokenizer, splits()[1]), prompt + length)
    data = data[:: max(1, len(data) // options.texts)][: options.texts]
    for plan in TEXTS:
        tokens, cells = {}, []
        for precision in PRECISIONS:
            writing = diffaccel.Model(MODELS / "tiny-llada", precision=precision).session(
                plan=diffaccel.Plan(dkv=plan) if plan else None, threads=options.threads)
            request = {"length": length, "steps": length, "block_length": 16, "order": "low_confidence"}
            found = [writing.sample(tokens=row[:prompt].numpy(), seed=index, **request).tokens[0] for index, row in enumerate(data)]
            tokens[precision] = np.stack([np.asarray(row)[-length:] for row in found])
            whole = torch.cat([data[:, :prompt], torch.from_numpy(tokens[precision].astype(np.int64))], 1)
            cells.append(f"{float(bound(network, whole, prompt, mask).mean()):.3f} nats a token")
        same = float((tokens["f32"] == tokens["bf16"]).mean())
        rows.append([f"tiny-llada, {'decode, refresh 4' if plan else 'plain'}", *cells, f"{100 * same:.1f} % of tokens equal"])
        print(*rows[-1], sep="  ", flush=True)
    return rows


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None)
    parser.add_argument("--parts", nargs="+", default=["fashion", "emoji", "texts"], choices=["fashion", "emoji", "texts"])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--emoji", type=int, default=500)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--data", default=DEFAULT_DATA)
    parser.add_argument("--classifier", default=DEFAULT_CACHE)
    options = parser.parse_args()
    facts = common.machine(np, torch)
    torch.set_num_threads(options.threads)
    rows = [row for part in options.parts for row in {"fashion": fashion, "emoji": emoji, "texts": texts}[part](options)]
    body = common.table(["model, plan", *PRECISIONS, "apart"], rows)
    common.finish("Quality by precision", facts, body, {"rows": rows}, options.json)


if __name__ == "__main__":
    main()

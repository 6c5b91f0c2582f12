"""Judge emoji-sd: whether what it draws is what was asked for, how its pictures are distributed, and what it makes of new prompts.

Three figures.  "Recognised": of 500 names, the share for which the nearest of all rendered emoji, in the autoencoder's latents, bears the
name asked for.  The Fréchet distance of the same samples to all rendered emoji, in the features of emoji_classifier.py; that of as
many rendered ones, as they are and through the autoencoder, is the floor.  "Repainted": of 200 pairs of colour and name that training
left out, the share whose nearest of all rendered emoji, and of those asked for in all colours, is the emoji asked for, and in that colour.

    python Tools/evaluate_emoji.py --steps 20 --guidance 5
    python Tools/evaluate_emoji.py --sampler library --steps 20 --guidance 5 --sheets

Samples are drawn by diffusers or by this library; one seed per picture, so neither depends on the batch.
"""

import argparse
import json
import time

import numpy as np
import torch

from checkpoints import write_json
from emoji_classifier import accuracy, describe, load_or_train
from emoji_data import SIDE, load, repainted, to_bytes, to_float, trained
from evaluate_fashion import frechet_distance

# None of these pairs of colour and emoji is among those that training sees.
NEW = [
    "a purple dog", "blue cat face", "a blue frog", "a pink elephant", "pink lion", "purple banana", "green strawberry", "red pear",
    "blue pizza", "pink mushroom", "green rose", "blue sunflower", "green automobile", "a blue octopus", "purple guitar",
    "cat with sunglasses", "a dog in a car", "apple with a face", "astronaut cat", "a robot with a crown",
]  # fmt: skip
EXISTING = [
    "red apple", "dog face", "rocket", "sunflower", "hamburger", "octopus", "grinning face", "soccer ball", "guitar", "umbrella",
    "locomotive", "castle", "penguin", "strawberry", "red heart", "light bulb", "snowman", "unicorn", "crown", "birthday cake",
]  # fmt: skip


def by_diffusers(options):
    """A function from prompts to bytes [n,3,64,64], by diffusers."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(options.model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def draw(prompts, seed):
        noise = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed + i)) for i in range(len(prompts))]
        images = pipe(prompts, latents=torch.cat(noise), num_inference_steps=options.steps, guidance_scale=options.guidance,
                      output_type="np").images
        return torch.from_numpy((images * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)

    return draw


def by_library(options):
    """The same by this library, through its Python package."""
    import diffaccel

    session = diffaccel.Model(options.model).session()

    def draw(prompts, seed):
        seeds = [seed + i for i in range(len(prompts))]
        result = session.sample(prompt=prompts, steps=options.steps, guidance=options.guidance, seeds=seeds)
        return torch.from_numpy(np.array(result.images)).permute(0, 3, 1, 2)

    return draw


def in_batches(draw, prompts, seed, batch):
    return torch.cat([draw(prompts[i : i + batch], seed + i) for i in range(0, len(prompts), batch)])


class Judge:
    """The autoencoder's latents of all pictures and the classifier's features of them."""

    def __init__(self, options):
        from diffusers import AutoencoderKL

        self.autoencoder = AutoencoderKL.from_pretrained(f"{options.model}/vae", torch_dtype=torch.float32)
        self.pictures = load()
        self.classifier = load_or_train(self.pictures)
        self.latents = self.encode(self.pictures["images"])
        self.features = describe(self.classifier, self.pictures["images"])[1]

    @torch.inference_mode()
    def encode(self, images):
        return torch.cat([self.autoencoder.encode(to_float(chunk)).latent_dist.mean for chunk in images.split(50)]).flatten(1)

    @torch.inference_mode()
    def reconstruct(self, indices):
        decoded = [self.autoencoder.decode(z.view(-1, 4, 16, 16)).sample for z in self.latents[indices].split(50)]
        return to_bytes(torch.cat(decoded))

    def frechet(self, images):
        return round(frechet_distance(describe(self.classifier, images)[1], self.features), 3)

    def nearest(self, images, latents):
        return torch.cdist(self.encode(images), latents).argmin(1).tolist()

    def recognised(self, images, names):
        return [name in self.pictures["names"][i] for i, name in zip(self.nearest(images, self.latents), names)]

    def repainted(self, draw, options):
        """Shares of left-out pairs recognised: the right emoji, and in the right colour too."""
        pairs = list(repainted(self.pictures))
        asked = [(i, c) for i, c, _ in pairs if not trained(c, self.pictures["names"][i][0])]
        order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(options.seed))[: options.pairs].tolist()
        asked = [asked[i] for i in order]
        turned = [pair for pair in pairs if any(pair[0] == i for i, _ in asked)]
        known = [(i, None) for i in range(len(self.latents))] + [(i, colour) for i, colour, _ in turned]
        latents = torch.cat([self.latents, self.encode(torch.stack([image for _, _, image in turned]))])
        images = in_batches(draw, [f"{c} {self.pictures['names'][i][0]}" for i, c in asked], 30_000 + options.seed, options.batch)
        found = [known[i] for i in self.nearest(images, latents)]
        count = len(asked)
        return {"pairs": count, "emoji": round(sum(a[0] == b[0] for a, b in zip(asked, found)) / count, 3),
                "emoji and colour": round(sum(a == b for a, b in zip(asked, found)) / count, 3)}


def labelled(images, texts, path, columns=5, zoom=2):
    """A PNG of pictures with their prompts below."""
    from PIL import Image, ImageDraw

    side, line = zoom * SIDE, 16
    page = Image.new("RGB", (columns * side, -(-len(texts) // columns) * (side + line)), "white")
    for index, (image, text) in enumerate(zip(images, texts)):
        row, column = divmod(index, columns)
        cell = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.BICUBIC)
        page.paste(cell, (column * side, row * (side + line)))
        ImageDraw.Draw(page).text((column * side + side // 2, row * (side + line) + side), text, fill="black", anchor="ma")
    page.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="Models/emoji-sd")
    p.add_argument("--sampler", choices=["diffusers", "library"], default="diffusers")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, nargs="*", default=[5.0])
    p.add_argument("--samples", type=int, default=500)
    p.add_argument("--pairs", type=int, default=0, help="left-out pairs of colour and name to try, 200 for the table")
    p.add_argument("--batch", type=int, default=25)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--sheets", action="store_true", help="write samples.png and new.png into the model folder")
    p.add_argument("--out", help="write the figures to this JSON file")
    options = p.parse_args()
    torch.set_num_threads(options.threads)

    judge = Judge(options)
    names = [name for group in judge.pictures["names"] for name in group]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(options.seed))[: options.samples].tolist()
    chosen = [next(i for i, group in enumerate(judge.pictures["names"]) if names[n] in group) for n in order]
    real = judge.pictures["images"][chosen]
    decoded = judge.reconstruct(chosen)
    error = (to_float(decoded) - to_float(real)).square().mean((1, 2, 3)) / 4
    results = {"captions": len(order), "classifier": round(accuracy(judge.classifier, judge.pictures), 3),
               "frechet of rendered": judge.frechet(real), "frechet of reconstructed": judge.frechet(decoded),
               "reconstruction dB": round(float((-10 * error.log10()).mean()), 2), "sets": []}
    print(json.dumps(results), flush=True)
    guidances = options.guidance
    for options.guidance in guidances:
        draw = by_library(options) if options.sampler == "library" else by_diffusers(options)
        asked = [names[n] for n in order]
        begin = time.monotonic()
        images = in_batches(draw, asked, options.seed, options.batch)
        seconds = time.monotonic() - begin
        hits = judge.recognised(images, asked)
        figures = {"sampler": options.sampler, "steps": options.steps, "guidance": options.guidance,
                   "recognised": round(sum(hits) / len(hits), 4), "frechet": judge.frechet(images), "seconds": round(seconds, 1)}
        if options.pairs:
            figures["repainted"] = judge.repainted(draw, options)
        results["sets"].append(figures)
        print(json.dumps(figures), flush=True)
    if options.sheets:
        for texts, file in ((EXISTING, "samples.png"), (NEW, "new.png")):
            labelled(draw(texts, options.seed), texts, f"{options.model}/{file}")
    if options.out:
        write_json(options.out, results)


if __name__ == "__main__":
    main()

"""Held-out figures of tiny-llada, by PyTorch from the stored weights: the bound on the negative log-likelihood, the loss and the share
of right guesses at masked tokens, by share masked; and the loss of a trigram of the training text beside it."""

import argparse
import json
import math
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from bible_text import splits
from llada_model import LLaDA
from train_llada import token_stream, windows


def load(folder):
    """Network in f32 and evaluation mode, and the tokenizer."""
    folder = Path(folder)
    network = LLaDA(json.loads((folder / "config.json").read_text()))
    network.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


class Trigram:
    """A language model that knows nothing of the network: interpolated absolute discounting over the training tokens."""

    def __init__(self, stream, vocabulary, discount=0.75):
        tokens = stream.tolist()
        self.vocabulary, self.discount = vocabulary, discount
        self.counts = [Counter(zip(*(tokens[i:] for i in range(n)))) for n in (1, 2, 3)]
        self.total = len(tokens)
        self.seen = [Counter(gram[:-1] for gram in counts) for counts in self.counts]
        self.sums = [Counter() for _ in range(3)]
        for counts, sums in zip(self.counts, self.sums):
            for gram, count in counts.items():
                sums[gram[:-1]] += count

    def probability(self, gram):
        """Of the last token of `gram` (1 to 3 tokens) after the others."""
        n, context = len(gram) - 1, gram[:-1]
        shorter = self.probability(gram[1:]) if n else 1 / self.vocabulary
        whole = self.sums[n][context]
        if not whole:
            return shorter
        return (max(0.0, self.counts[n][gram] - self.discount) + self.discount * self.seen[n][context] * shorter) / whole

    def nats(self, tokens, start):
        """Mean negative log-likelihood of tokens[start:]."""
        logs = [math.log(self.probability(tuple(tokens[max(0, i - 2) : i + 1]))) for i in range(start, len(tokens))]
        return -sum(logs) / len(logs)


@torch.inference_mode()
def bound(network, tokens, start, mask, levels=32, seed=0):
    """The masked-diffusion bound of tokens[:, start:] given the rest, nats per token [n]: `levels` shares of masks, evenly spread."""
    n, length = tokens.shape[0], tokens.shape[1] - start
    g = torch.Generator().manual_seed(seed)
    sums = torch.zeros(n)
    for level in range(levels):
        count = max(1, round((level + 0.5) / levels * length))
        # Exactly `count` masks: less variance than drawing each, the same mean.
        hidden = torch.zeros(n, tokens.shape[1], dtype=torch.bool)
        places = torch.rand(n, length, generator=g).argsort(1)[:, :count] + start
        hidden.scatter_(1, places, True)
        logits = network(torch.where(hidden, mask, tokens))
        errors = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        sums += (errors * hidden).sum(1) / count
    return sums / levels


@torch.inference_mode()
def masked_figures(network, data, share, mask, seed=0):
    """Loss and share of right guesses at masked tokens when `share` of each window is masked."""
    g = torch.Generator().manual_seed(seed)
    errors, right, count = 0.0, 0, 0
    for part in data.split(64):
        hidden = torch.rand(part.shape, generator=g) < share
        logits = network(torch.where(hidden, mask, part))[hidden]
        errors += float(F.cross_entropy(logits, part[hidden], reduction="sum"))
        right += int((logits.argmax(-1) == part[hidden]).sum())
        count += int(hidden.sum())
    return errors / count, right / count


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", default="Models/tiny-llada")
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--windows", type=int, default=256)
    p.add_argument("--threads", type=int, default=2)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    network, tokenizer = load(options.model)
    texts, held_out = splits()
    mask = network.c["mask_token_id"]
    stream, starts = token_stream(tokenizer, held_out)
    data = windows(stream, starts, options.length)
    data = data[:: max(1, len(data) // options.windows)][: options.windows]
    characters = sum(len(tokenizer.decode(row.tolist(), skip_special_tokens=False)) for row in data) / data.numel()
    print(f"{len(data)} held-out windows of {options.length} tokens, {characters:.2f} characters a token\n")
    print("| masked | loss, nats | right guesses |\n| --- | --- | --- |")
    for share in (0.15, 0.3, 0.5, 0.75, 1.0):
        loss, right = masked_figures(network, data, share, mask)
        print(f"| {100 * share:.0f} % | {loss:.3f} | {100 * right:.1f} % |")
    nats = torch.cat([bound(network, part, 0, mask) for part in data.split(64)])
    print(f"\nbound on the negative log-likelihood: {nats.mean():.3f} nats a token, {nats.mean() / characters / math.log(2):.3f} bits a character")
    trigram = Trigram(token_stream(tokenizer, texts)[0], network.c["vocab_size"])
    print(f"trigram of the training text: {sum(trigram.nats(row.tolist(), 0) for row in data) / len(data):.3f} nats a token")


if __name__ == "__main__":
    main()

"""Generation with a seed beside the published loops on torch's own generator: equal tokens mean equal draws.

The networks are tiny; their logits come from the library, so only the decoding and its draws are compared.
"""

import json
import pathlib

import pytest

import diffaccel

torch = pytest.importorskip("torch")
GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "Tests" / "Golden"
PROMPT = [3, 17, 81, 44, 8, 90]


def fixture(name):
    folder = GOLDEN / name
    settings = json.loads((folder / "config.json").read_text())
    return diffaccel.Model(folder / "weights.safetensors", config=settings["model"]), settings["mask_id"]


@pytest.fixture(scope="module")
def llada():
    return fixture("dkv_llada_fastdllm")


@pytest.fixture(scope="module")
def dream():
    return fixture("dkv_dream_fastdllm")


def logits_of(model, tokens):
    return torch.from_numpy(model.forward("logits", tokens=tokens.numpy())[0].copy())


def surest(confidence, count):
    """torch.topk leaves open which of equal values it takes; the library takes the first."""
    return torch.sort(confidence, descending=True, stable=True).indices[:count]


def published_llada(model, mask, seed, length, steps, block, temperature, order):
    """`generate` of the LLaDA repository for one prompt, without guidance."""
    torch.manual_seed(seed)
    x = torch.tensor(PROMPT + [mask] * length)
    blocks = length // block
    for index in range(blocks):
        end = len(PROMPT) + (index + 1) * block
        masked = int((x[end - block:end] == mask).sum())
        rounds = steps // blocks
        for step in range(rounds):
            logits = logits_of(model, x)
            noisy = logits
            if temperature:
                noise = torch.rand_like(logits, dtype=torch.float64)
                noisy = logits.double().exp() / (-torch.log(noise)) ** temperature
            chosen = torch.argmax(noisy, -1)
            if order == "random":
                confidence = torch.rand((1, len(x)))[0]
            else:
                confidence = torch.softmax(logits.double(), -1).gather(-1, chosen[:, None])[:, 0]
            confidence = torch.where(x == mask, confidence, -torch.inf)
            confidence[end:] = -torch.inf
            count = masked // rounds + (step < masked % rounds)
            places = surest(confidence, count)
            x[places] = chosen[places]
    return x[len(PROMPT):].tolist()


def published_dream(model, mask, seed, length, steps, temperature, algorithm, top_p=1.0, top_k=0, order_temperature=0.0):
    """`_sample` of the Dream repository for one prompt."""
    torch.manual_seed(seed)
    x = torch.tensor(PROMPT + [mask] * length)
    times = torch.linspace(1, 1e-3, steps + 1)
    for step in range(steps):
        masked = x == mask
        shifted = logits_of(model, x)
        logits = torch.cat([shifted[:1], shifted[:-1]])[masked]
        share = 1 - times[step + 1] / times[step] if step < steps - 1 else torch.tensor(1.0)

        def sample(logits):
            logits = logits / temperature
            if top_p < 1:
                ordered, places = torch.sort(logits, descending=True)
                removed = torch.softmax(ordered, -1).cumsum(-1) > top_p
                removed[..., 1:] = removed[..., :-1].clone()
                removed[..., 0] = False
                removed = torch.zeros_like(removed).scatter(-1, places, removed)
                logits = logits.masked_fill(removed, torch.finfo(logits.dtype).min)
            if top_k:
                logits = logits.masked_fill(logits < torch.topk(logits, top_k)[0][..., -1:], torch.finfo(logits.dtype).min)
            probabilities = torch.softmax(logits, -1)
            chosen = torch.distributions.Categorical(probs=probabilities).sample()
            confidence = probabilities.gather(-1, chosen[:, None])[:, 0]
            if algorithm == "topk_margin":
                ordered = torch.sort(probabilities, descending=True)[0]
                confidence = ordered[:, 0] - ordered[:, 1]
            if algorithm == "entropy":
                confidence = (probabilities * torch.log(probabilities + 1e-10)).sum(-1)
            return confidence, chosen

        places = torch.nonzero(masked)[:, 0]
        if algorithm == "origin":
            revealed = torch.rand(len(places)) < share
            if revealed.any():
                x[places[revealed]] = sample(logits[revealed])[1]
            continue
        confidence, chosen = sample(logits)
        count = int(len(places) * share) if step < steps - 1 else len(places)
        if count == 0:
            continue
        if order_temperature:
            whole = torch.full((1, len(x)), -torch.inf)
            whole[0, places] = confidence
            taken = torch.multinomial(torch.softmax(whole / order_temperature, -1), num_samples=count)[0]
        else:
            taken = places[surest(confidence, count)]
        full = x.clone()
        full[places] = chosen
        x[taken] = full[taken]
    return x[len(PROMPT):].tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 5])
@pytest.mark.parametrize("temperature, order, steps", [(1.0, "low_confidence", 16), (0.5, "random", 8), (0.0, "random", 16)])
def test_llada(llada, seed, temperature, order, steps):
    model, mask = llada
    found = model.session(threads=2).sample(tokens=PROMPT, length=16, steps=steps, block_length=8, temperature=temperature, order=order,
                                              seed=seed, allow_mask=True)
    assert found.tokens[0].tolist() == published_llada(model, mask, seed, 16, steps, 8, temperature, order)


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 5])
@pytest.mark.parametrize("options", [
    {"algorithm": "maskgit_plus", "temperature": 0.7}, {"algorithm": "entropy", "temperature": 0.4, "top_p": 0.9, "top_k": 20},
    {"algorithm": "topk_margin", "temperature": 1.0, "order_temperature": 0.3}, {"algorithm": "origin", "temperature": 1.0, "top_k": 5},
], ids=lambda options: options["algorithm"])
def test_dream(dream, seed, options):
    model, mask = dream
    given = dict(options)
    found = model.session(threads=2).sample(tokens=PROMPT, length=16, steps=12, order=given.pop("algorithm"), seed=seed, eps=1e-3,
                                              allow_mask=True, **given)
    assert found.tokens[0].tolist() == published_dream(model, mask, seed, 16, 12, **options)


def published_blocks(model, mask, seed, length, steps, block, temperature, threshold):
    """Fast-dLLM's `_sample` for Dream, everything fed in every pass."""
    torch.manual_seed(seed)
    x = torch.tensor(PROMPT + [mask] * length)
    rate = steps // (length // block)
    times = torch.linspace(1, 1e-3, rate + 1)

    def sample(rows):
        shifted = logits_of(model, x)
        probabilities = torch.softmax(torch.cat([shifted[:1], shifted[:-1]])[rows] / temperature, -1)
        return probabilities, torch.distributions.Categorical(probs=probabilities).sample()

    for first in range(len(PROMPT), len(x), block):
        end = first + block
        x[first] = sample(torch.arange(len(x)))[1][first]
        step = 1
        while (x[first:end] == mask).any():
            seen = torch.nonzero(x == mask)[:, 0]
            seen = seen if threshold else seen[seen < end]
            probabilities, chosen = sample(seen)
            inside = seen < end
            if threshold:
                confidence = torch.where(inside, probabilities.gather(-1, chosen[:, None])[:, 0], -torch.inf)
                ordered = surest(confidence, int(inside.sum()))
                taken = [i for rank, i in enumerate(ordered) if rank == 0 or not confidence[i] < threshold]
            else:
                confidence = (probabilities * torch.log(probabilities + 1e-10)).sum(-1)
                masks = torch.tensor(float(len(seen)))
                count = int(masks * (1 - times[step + 1] / times[step])) if step < rate - 1 else len(seen)
                taken = surest(confidence, count)
            for i in taken:
                x[seen[i]] = chosen[i]
            step += 1
    return x[len(PROMPT):].tolist()


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("threshold", [None, 0.2])
def test_blocks_of_dream(dream, seed, threshold):
    model, mask = dream
    found = model.session(threads=2).sample(tokens=PROMPT, length=16, steps=16, block_length=8, temperature=0.7, seed=seed, eps=1e-3,
                                              threshold=threshold, allow_mask=True)
    assert found.tokens[0].tolist() == published_blocks(model, mask, seed, 16, 16, 8, 0.7, threshold)

"""One step of learning against the same mathematics in torch: gradients, and what AdamW does with them.

A state holds AdamW's first moments; after one step they are a tenth of the gradient. The random numbers of a step are torch's own
generator, seeded from the run's seed and the step's number, so both sides see the same noise.
"""

import json
import struct
import sys

import numpy as np
import pytest
from conftest import ROOT, TINY, write_dit
from learning_cases import patterns

import diffaccel
from diffaccel import learn, plots

torch = pytest.importorskip("torch")
sys.path.insert(0, str(ROOT / "Tools"))
# Tools of the repository: one that is not there is an error.
import dit_diffusion  # noqa: E402
import dit_model  # noqa: E402

BATCH, SEED, MASK = 8, 3, (1 << 64) - 1
PROCESS = dit_diffusion.linear_schedule(dict(train_steps=1000, beta_start=1e-4, beta_end=0.02))


class Draws:
    """The stream of one step (`StepDraws` of the library)."""

    def __init__(self, step=0, purpose=0):
        z = (SEED + (step + 1) * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        self.generator = torch.Generator().manual_seed(z ^ (z >> 31))

    def index(self, count):
        low = torch.iinfo(torch.int64).min
        return (int(torch.empty(1, dtype=torch.int64).random_(low, None, generator=self.generator)) & MASK) % count

    def indices(self, size, count):
        return torch.tensor([self.index(count) for _ in range(size)])

    def normal(self, shape):
        return torch.randn(shape, generator=self.generator)


def network(path):
    """The checkpoint in torch, float64 so that only the library's rounding is seen."""
    model = dit_model.DiT(TINY)
    model.load_state_dict(read_safetensors(path / "model.safetensors"))
    return model.double()


def read_safetensors(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, body = json.loads(raw[8:8 + length]), raw[8 + length:]
    return {name: torch.from_numpy(np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy())
            for name, entry in header.items() if name != "__metadata__"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_dit(tmp_path_factory.mktemp("models") / "torch", seed=11)


@pytest.fixture(scope="module")
def batch():
    """The first batch: the whole data in the epoch's order."""
    states, labels = patterns(BATCH, seed=4)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(SEED))
    return (states, labels), torch.from_numpy(states)[order].double(), torch.from_numpy(labels)[order]


def close(found, expected, tolerance=2e-4):
    """Relative to the largest element of the tensor."""
    found, expected = np.asarray(found, np.float64), expected.detach().double().numpy()
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max() + 1e-12


def test_fine_tuning_step(path, batch, tmp_path):
    data, x0, y = batch
    events = []
    rate, decay, clip = 1e-3, 0.1, 0.5
    trainer = learn.finetune(path, data, steps=1, batch=BATCH, seed=SEED, label_dropout=0, learning_rate=rate, weight_decay=decay,
                             clip=clip, average_decay=0.9, callback=events.append)
    trainer.save(tmp_path / "state")
    tensors = plots.read_state(tmp_path / "state")["tensors"]

    model = network(path)
    draws = Draws()
    t, noise = draws.indices(BATCH, 1000), draws.normal(x0.shape).double()
    loss, _ = dit_diffusion.training_loss(model, PROCESS, x0, t, y, noise)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss.backward()
    assert events[0].loss == pytest.approx(loss.item(), rel=1e-5)
    learning = [value for value in model.parameters() if value.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(learning, clip)
    assert events[0].gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    torch.optim.AdamW(learning, lr=rate, weight_decay=decay).step()

    names = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {key.split("/")[0] for key in tensors} == names, "what learns is what learns in the published code"
    for name, value in model.named_parameters():
        if name not in names:
            continue
        close(10 * tensors[f"{name}/first"], value.grad)
        # AdamW's first step is the sign of each element times the rate: elements next to zero may fall on either side.
        sure = (value.grad.abs() > 1e-3 * value.grad.abs().max()).numpy()
        step, expected = tensors[f"{name}/value"] - before[name].numpy(), (value.detach() - before[name]).numpy()
        assert np.abs(step - expected)[sure].max() < 0.02 * rate
        average = 0.9 * before[name].numpy() + 0.1 * tensors[f"{name}/value"]
        np.testing.assert_allclose(tensors[f"{name}/average"], average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("straight_through", [None, 0.4])
def test_router_iteration(path, batch, tmp_path, straight_through):
    data, x0, y = batch
    steps, l1, rate, events = 6, 1e-3, 0.01, []
    trainer = learn.trainer(path, "router", data, sampling_steps=steps, steps=1, batch=BATCH, seed=SEED, label_dropout=0, l1=l1,
                            learning_rate=rate, straight_through=straight_through)
    start = np.array(trainer.plan().describe()["methods"][0]["logits"], np.float32)
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.stack([torch.randn(6, generator=generator) for _ in range(steps)])
    np.testing.assert_allclose(start, drawn.numpy(), atol=1e-6)
    trainer.run(callback=events.append)
    trainer.save(tmp_path / "state")
    tensors = plots.read_state(tmp_path / "state")["tensors"]
    row = int(events[0].terms["row"])

    model = network(path)
    spaced = dit_diffusion.respace(PROCESS, steps)
    draws = Draws()
    assert row == [4, 2, 0][draws.index(3)]
    noise = draws.normal(x0.shape).double()
    bar, lower = float(spaced.alphas_bar[row + 1]), float(spaced.alphas_bar[row])
    logits = torch.tensor(start[row], dtype=torch.float64, requires_grad=True)
    scores = torch.sigmoid(logits)
    weights = scores if straight_through is None else scores + ((scores > straight_through).double() - scores).detach()
    kept = {}

    def outputs(x, index, blend):
        """The network with the outputs of attentions and MLPs kept, or blended with those that were."""
        hooks = []
        for column, module in enumerate(m for block in model.blocks for m in (block.attn, block.mlp)):
            def hook(_module, _inputs, output, column=column):
                if blend is None:
                    kept[column] = output.detach()
                    return output
                return blend[column] * output + (1 - blend[column]) * kept[column]
            hooks.append(module.register_forward_hook(hook))
        try:
            return model(x, torch.full((BATCH,), spaced.timesteps[index]), y)
        finally:
            for handle in hooks:
                handle.remove()

    with torch.no_grad():
        x = bar ** 0.5 * x0 + (1 - bar) ** 0.5 * noise
        epsilon = outputs(x, row + 1, None)[:, :4]
        clean = (x - (1 - bar) ** 0.5 * epsilon) / bar ** 0.5
        x = lower ** 0.5 * clean + (1 - lower) ** 0.5 * epsilon
        target = model(x, torch.full((BATCH,), spaced.timesteps[row]), y)
    error = ((outputs(x, row, weights) - target) ** 2).mean()
    (error + l1 * scores.sum()).backward()

    assert events[0].terms["error"] == pytest.approx(error.item(), rel=1e-4)
    assert events[0].loss == pytest.approx((error + l1 * scores.sum()).item(), rel=1e-4)
    assert events[0].gradient_norm == pytest.approx(logits.grad.norm().item(), rel=1e-3)
    moments = tensors["moments.first"].reshape(steps, 6)
    close(10 * moments[row], logits.grad, 1e-3)
    assert not np.delete(moments, row, axis=0).any(), "other rows have no gradient"
    moved = tensors["logits"].reshape(steps, 6) - start
    np.testing.assert_allclose(moved[row], -rate * np.sign(logits.grad.numpy()), atol=1e-4 * rate + 3e-7, rtol=1e-3)
    assert not np.delete(moved, row, axis=0).any()


def test_sampling_of_what_was_trained(path, batch, tmp_path):
    """An exported checkpoint is one that torch can load and that means the same there."""
    learn.finetune(path, batch[0], steps=3, batch=BATCH, learning_rate=1e-3, average_decay=0.5).export(tmp_path / "tuned")
    model = network(tmp_path / "tuned")
    x, y = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([1, 2])
    with torch.no_grad():
        expected = dit_diffusion.ddim_sample(model, PROCESS, y, 4, 1, x.double())
    with diffaccel.Model(tmp_path / "tuned").session() as session:
        found = session.sample(labels=[1, 2], steps=4, guidance=1.0, noise=x.numpy()).latents
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4 * float(expected.abs().max()))

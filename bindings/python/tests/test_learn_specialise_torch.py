"""One step of specialised fine-tuning against the same mathematics in torch: losses, gradients of every parameter, and AdamW.

A state holds AdamW's first moments; after one step they are a tenth of the gradient.
"""

import sys

import numpy as np
import pytest
from conftest import ROOT
from test_learn_torch import close, read_safetensors
from test_next_scale import CHANNELS, CLASSES, CODES, SIDES, TOKENS, write_var

from diffaccel import learn, plots

torch = pytest.importorskip("torch")
sys.path.insert(0, str(ROOT / "Tools"))
# Tools of the repository: one that is not there is an error.
import var_model  # noqa: E402
import vqvae_model  # noqa: E402

BATCH, DRAFTED = 6, 2
COUNTS = [side * side for side in SIDES]
SEEN = sum(COUNTS[:DRAFTED])
#: What VAR's training leaves without weight decay.
UNDECAYED = ("pos_1LC", "pos_start", "lvl_embed", "scale_mul", "bias")


def network(path, width=32, depth=2):
    """The checkpoint in torch, float64 so that only the library's rounding is seen."""
    model = var_model.VAR(dict(depth=depth, embed_dim=width, num_heads=2, num_classes=CLASSES, vocab_size=CODES,
                               z_channels=CHANNELS, patch_nums=SIDES))
    model.load_state_dict(read_safetensors(path / "model.safetensors"))
    return model.double()


def codebook(path):
    quantizer = vqvae_model.Quantizer(dict(vocab_size=CODES, z_channels=CHANNELS), SIDES)
    state = read_safetensors(path / "vae" / "model.safetensors")
    quantizer.load_state_dict({name[9:]: value for name, value in state.items() if name.startswith("quantize.")})
    return quantizer.double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("specialised")
    write_var(root / "var", seed=7)
    write_var(root / "refiner", codes=False, width=16, depth=1, seed=3)
    return root


@pytest.fixture(scope="module")
def data(folder):
    g = np.random.default_rng(5)
    tokens, labels = g.integers(0, CODES, (BATCH, TOKENS)), np.arange(BATCH) % (CLASSES + 1)
    with torch.no_grad():
        views, _ = codebook(folder / "var").teacher_codes(torch.from_numpy(tokens).split(COUNTS, 1))
    return (tokens, labels), torch.from_numpy(tokens), torch.from_numpy(labels), views


def drafter_loss(folder, data, smoothing):
    _, tokens, labels, views = data
    model = network(folder / "var")
    logits = model(views, labels, SEEN)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, :SEEN].flatten(), label_smoothing=smoothing)
    return model, loss, {"ce": loss}


def refiner_loss(folder, data, alpha, temperature):
    _, tokens, labels, views = data
    model, teacher = network(folder / "refiner", 16, 1), network(folder / "var")
    student = model(views, labels)[:, SEEN:].flatten(0, 1)
    with torch.no_grad():
        wanted = teacher(views, labels)[:, SEEN:].flatten(0, 1)
    kl = temperature ** 2 * torch.nn.functional.kl_div(
        (student / temperature).log_softmax(-1), (wanted / temperature).softmax(-1), reduction="batchmean")
    ce = torch.nn.functional.cross_entropy(student, tokens[:, SEEN:].flatten())
    return model, alpha * kl + (1 - alpha) * ce, {"kl": kl, "ce": ce}


@pytest.mark.parametrize("role, more", [
    ("drafter", {}), ("drafter", dict(label_smoothing=0.1)), ("refiner", {}), ("refiner", dict(alpha=0.3, temperature=2.0))])
def test_step(folder, data, tmp_path, role, more):
    rate, decay, clip, events = 1e-3, 0.1, 0.5, []
    settings = dict(role=role, draft_scales=DRAFTED, steps=1, batch=BATCH, label_dropout=0, learning_rate=rate, warmup=0,
                    weight_decay=decay, clip=clip, average_decay=0.9, callback=events.append, **more)
    if role == "drafter":
        model, loss, terms = drafter_loss(folder, data, more.get("label_smoothing", 0.0))
        trainer = learn.specialise(folder / "var", data[0], **settings)
    else:
        model, loss, terms = refiner_loss(folder, data, more.get("alpha", 1.0), more.get("temperature", 1.0))
        trainer = learn.specialise(folder / "refiner", data[0], teacher=folder / "var", **settings)
    trainer.save(tmp_path / "state")
    tensors = plots.read_state(tmp_path / "state")["tensors"]

    assert events[0].loss == pytest.approx(loss.item(), rel=1e-5)
    assert events[0].terms == pytest.approx({name: value.item() for name, value in terms.items()}, rel=1e-5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    assert events[0].gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    named = dict(model.named_parameters())
    assert {key.split("/")[0] for key in tensors} == set(named), "what learns is what learns in the published code"
    bare = [value for name, value in named.items() if any(part in name for part in UNDECAYED)]
    others = [value for name, value in named.items() if not any(part in name for part in UNDECAYED)]
    torch.optim.AdamW([{"params": others, "weight_decay": decay}, {"params": bare, "weight_decay": 0.0}], lr=rate,
                      betas=(0.9, 0.95)).step()
    for name, value in named.items():
        close(10 * tensors[f"{name}/first"].reshape(value.shape), value.grad)
        # AdamW's first step is the sign of each element times the rate: elements next to zero may fall on either side.
        sure = (value.grad.abs() > 1e-3 * value.grad.abs().max()).numpy()
        new = tensors[f"{name}/value"].reshape(value.shape)
        step, expected = new - before[name].numpy(), (value.detach() - before[name]).numpy()
        if sure.any():
            assert np.abs(step - expected)[sure].max() < 0.02 * rate, name
        average = 0.9 * before[name].numpy() + 0.1 * new
        np.testing.assert_allclose(tensors[f"{name}/average"].reshape(value.shape), average, rtol=1e-5, atol=1e-6)


def test_exports_mean_the_same_to_torch(folder, data, tmp_path):
    """The loss that the library measures is the one that torch finds in what was exported."""
    trainer = learn.specialise(folder / "var", data[0], role="drafter", draft_scales=DRAFTED, steps=3, batch=BATCH,
                               learning_rate=1e-3, averaged=False)
    trainer.export(tmp_path / "out")
    _, tokens, labels, views = data
    with torch.no_grad():
        logits = network(tmp_path / "out")(views, labels, SEEN)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, :SEEN].flatten())
    assert trainer.evaluate(1)["loss"] == pytest.approx(loss.item(), rel=1e-5)

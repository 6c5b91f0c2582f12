"""What people hand over: numbers that do not fit, flags, options that are none, tensors in another order."""

import fractions

import numpy as np
import pytest
from test_next_scale import write_var
from test_text import folder, llada  # noqa: F401 - fixtures

import diffaccel

Argument = diffaccel.InvalidArgumentError
SAMPLE = dict(labels=[1], steps=2)
WIDE = [2**32 + 1, -(2**31) - 1, 2**64, 2**70, 10**400]

REQUEST_INTEGERS = ["steps", "steps_offset", "tile", "guidance_channels", "seed"]
TEXT_INTEGERS = ["length", "steps", "block_length", "seed", "seeds"]
#: Options that are numbers or words: of a text the library says that it is none of the words.
WORDS = ["tile", "guidance_channels"]
NO_INTEGERS = [3.9, 3.0, np.float32(3), "3", True, np.bool_(True), float("nan"), [3.9], object(), fractions.Fraction(7, 2), b"3"]


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return diffaccel.Model(write_var(tmp_path_factory.mktemp("models") / "var"))


def refused(error, function, **given):
    with pytest.raises(error) as caught:
        function(**given)
    name = next(iter(given))
    assert name in str(caught.value) and len(str(caught.value)) < 400


def beyond(value):
    """What is no number of 64 bits cannot be said to the library; other ranges it checks itself."""
    return Argument if -(2**63) <= value < 2**63 else OverflowError


@pytest.mark.parametrize("name", REQUEST_INTEGERS)
def test_integers_of_requests(session, name):
    for value in NO_INTEGERS:
        error = Argument if name in WORDS and value == "3" else TypeError
        refused(error, lambda **given: session.sample(**{**SAMPLE, **given}), **{name: value})
    for value in WIDE:
        if name != "seed" or not 0 <= value < 2**63:
            refused(beyond(value), lambda **given: session.sample(**{**SAMPLE, **given}), **{name: value})


@pytest.mark.parametrize("name", TEXT_INTEGERS)
def test_integers_of_texts(llada, name):  # noqa: F811
    session = llada.session()
    wrap = (lambda value: [value]) if name == "seeds" else (lambda value: value)
    for value in NO_INTEGERS:
        refused(TypeError, lambda **given: session.sample(prompt="h", **{"length": 4, **given}), **{name: wrap(value)})
    for value in WIDE:
        if "seed" not in name or not 0 <= value < 2**63:
            refused(beyond(value), lambda **given: session.sample(prompt="h", **{"length": 4, **given}), **{name: wrap(value)})


def test_numbers_of_scales(var):
    session = var.session()
    assert np.array_equal(session.sample(labels=[1], top_k=np.int8(3)).tokens, session.sample(labels=[1], top_k=[3, 3, 3, 3]).tokens)
    for value in (2**64, [3, 2**64]):
        refused(OverflowError, lambda **given: session.sample(labels=[1], **given), top_k=value)
    for value in ([1, 2.5, 3, 4], np.array([1.0]), [True, 1, 1, 1], "3", 3.9, True, [[1, 2], [3, 4]], np.zeros((2, 2), int)):
        refused(TypeError, lambda **given: session.sample(labels=[1], **given), top_k=value)
    for value in ([], 2**32 + 1, [3, 2**32], [1, 2]):
        refused(Argument, lambda **given: session.sample(labels=[1], **given), top_k=value)
    for value in (["a"], [float("nan")], "1"):
        refused(Argument, lambda **given: session.sample(labels=[1], **given), temperature=value)


@pytest.mark.parametrize("name", ["eta", "guidance", "top_p"])
def test_real_numbers(session, var, name):
    sample = (lambda **given: var.session().sample(labels=[1], **given)) if name == "top_p" else (
        lambda **given: session.sample(**SAMPLE, **given))
    for value in (float("nan"), np.float32("nan"), float("inf"), "0.5"):
        refused(Argument, sample, **{name: value})
    for value in (True, [1, 2], object(), 1j, b"1"):
        refused(TypeError, sample, **{name: value})
    refused(OverflowError, sample, **{name: 10**400})


def test_numbers_of_every_kind_are_taken(session):
    expected = session.sample(labels=[1], steps=2, seed=7, eta=0.5).latents
    for labels, steps, seed, eta in (([1], np.int8(2), np.uint64(7), fractions.Fraction(1, 2)), (np.uint8(1), 2, 7, np.float16(0.5)),
                                     (np.array([1], np.int16), np.array(2), np.int32(7), np.array(0.5))):
        assert np.array_equal(session.sample(labels=labels, steps=steps, seed=seed, eta=eta).latents, expected)


@pytest.mark.parametrize("use", [
    lambda model, value: model.session(threads=value), lambda model, value: diffaccel.Plan().describe(model, steps=value),
    lambda model, value: diffaccel.Plan().grid(model, steps=value),
    lambda model, value: model.forward(x=np.zeros((1, 4, 8, 8)), t=[1], y=[1], threads=value),
    lambda model, value: diffaccel.randperm(value), lambda model, value: diffaccel.randn((2, value)),
    lambda model, value: diffaccel.randn(2, seed=value), lambda model, value: model.session(memory_limit=value),
    lambda model, value: diffaccel.learn.sweep(model, {"logits": [[1.0] * 6] * 2}, repeat=value, labels=[1]),
])
def test_every_other_integer(tiny, use):
    for value in (3.9, 2.0, True, "3", float("nan"), None):
        with pytest.raises(TypeError):
            use(tiny, value)
    for value in (2**70, -(2**70)):
        with pytest.raises((OverflowError, ValueError)):
            use(tiny, value)


def test_flags(session, var, llada):  # noqa: F811
    refused(TypeError, lambda **given: session.sample(**SAMPLE, **given), decode=1)
    for name in ("decode", "more_smooth", "previews"):
        refused(TypeError, lambda **given: var.session().sample(labels=[1], **given), **{name: 1})
    for name in ("chat", "allow_mask", "allow_control", "infill", "no_end", "end_last"):
        refused(TypeError, lambda **given: llada.session().sample(prompt="h", length=4, **given), **{name: 1})
    assert np.array_equal(session.sample(**SAMPLE, decode=np.bool_(True)).latents, session.sample(**SAMPLE).latents)


def test_unknown_arguments(session):
    for use in (session.sample, session.estimate):
        for value in (3, object(), [1j]):
            with pytest.raises(Argument, match='no option "stepz"; did you mean "steps"'):
                use(labels=[1], stepz=value)
    with pytest.raises(Argument, match="did you mean"):
        session.sample(labels=[1], nois=np.zeros((1, 4, 8, 8), np.float32))
    with pytest.raises(TypeError):
        session.sample("ddim", labels=[1])
    for value in (3, 10**5000, [10**5000], ["ddim"], b"ddim", {"a": 1}, object()):
        refused(TypeError, lambda **given: session.sample(**SAMPLE, **given), sampler=value)


@pytest.mark.parametrize("name, shape", [
    ("noise", (1, 8, 8, 4)), ("noise", (4, 8, 8)), ("noise", (2, 4, 8, 8)), ("noise", (1, 256)), ("step_noise", (1, 4, 8, 8)),
    ("step_noise", (2, 1, 8, 4, 8)), ("labels", (1, 1)),
])
def test_shapes_of_tensors(session, name, shape):
    """As many numbers in another order would be taken for what they are not."""
    given = {"labels": [1], "sampler": "ddpm", "steps": 2, name: np.zeros(shape, int if name == "labels" else np.float32)}
    with pytest.raises(diffaccel.ShapeError, match=name):
        session.sample(**given)

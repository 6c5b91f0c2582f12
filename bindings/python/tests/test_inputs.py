"""What people hand over: numbers that do not fit, prompts and labels of every kind, and plans by name."""

import fractions

import numpy as np
import pytest
from conftest import write_dit
from test_next_scale import write_var
from test_text import folder, llada  # noqa: F401 - fixtures

import diffaccel

Argument = diffaccel.InvalidArgumentError
SAMPLE = dict(labels=[1], steps=2)
WIDE = [2**32 + 1, -(2**31) - 1, 2**64, 2**70, 10**400]


@pytest.fixture(scope="module")
def var(tmp_path_factory):
    return diffaccel.Model(write_var(tmp_path_factory.mktemp("models") / "var"))


# ---- numbers ----

REQUEST_INTEGERS = ["steps", "steps_offset", "tile", "guidance_channels", "seed"]
TEXT_INTEGERS = ["length", "steps", "block_length", "seed", "seeds"]
#: Options that are numbers or words: of a text the library says that it is none of the words.
WORDS = ["tile", "guidance_channels"]
NO_INTEGERS = [3.9, 3.0, np.float32(3), "3", True, np.bool_(True), float("nan"), [3.9], object(), fractions.Fraction(7, 2), b"3"]


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


# ---- labels ----


@pytest.mark.parametrize("labels", [
    ["class 3", 7], ["CLASS 3", "class 7"], np.array(["class 3", "class 7"]), np.array(["class 3", 7], dtype=object), (3, 7),
    np.array([3, 7], dtype=object), iter([3, 7]), np.array([3, 7], np.uint8), [np.int64(3), 7], [" class 3 ", "Class 7"],
])
def test_labels(session, labels):
    assert np.array_equal(session.sample(labels=labels, steps=2).latents, session.sample(labels=[3, 7], steps=2).latents)


@pytest.mark.parametrize("labels, error, words", [
    ([], Argument, "labels"), (None, Argument, "labels.*missing"), ([1.0], TypeError, "labels"), ([True], TypeError, "labels"),
    (np.array([True]), TypeError, "labels"), (b"abc", TypeError, "bytes"), ([b"abc"], TypeError, "labels"), ({"a": 1}, TypeError, "dict"),
    ([[1, 2], [3]], TypeError, "labels"), ([2**70], OverflowError, "labels"), ("clas 3", Argument, 'did you mean "class 3"'),
    ([[1], [2]], TypeError, "labels"), (np.float64(3), TypeError, "labels"), ("", Argument, "class"), ("a\ud800", Argument, "surrogate"),
    (np.array([[1], [2]]), diffaccel.ShapeError, "labels"),
])
def test_labels_that_are_none(session, labels, error, words):
    with pytest.raises(error, match=words):
        session.sample(labels=labels, steps=2)


def test_synonyms(tmp_path):
    names = ["tench, Tinca tinca", "crane, machine", "goldfish", "crane, bird", *"abcdef"]
    with diffaccel.Model(write_dit(tmp_path / "dit", labels=names)).session() as session:
        expected = session.sample(labels=[0, 2], steps=1).latents
        for labels in (["tench", "Goldfish"], ["TINCA TINCA", "goldfish"], ["tench, Tinca tinca", 2]):
            assert np.array_equal(session.sample(labels=labels, steps=1).latents, expected)
        for name in ("crane", "Crane"):
            with pytest.raises(Argument, match="1 and 3"):
                session.sample(labels=name)
        for name in ("", " ", "tench, goldfish"):
            with pytest.raises(Argument, match="no class"):
                session.sample(labels=[name])
    # A name as it is written goes before one in another case, all names before one of them, as in the library and the command line.
    names = ["Bat", "bat", "Swan, bird", "swan", *"abcdef"]
    with diffaccel.Model(write_dit(tmp_path / "cases", labels=names)).session() as session:
        expected = session.sample(labels=[0, 1, 2, 3], steps=1).latents
        assert np.array_equal(session.sample(labels=["Bat", "bat", "Swan", "swan"], steps=1).latents, expected)
        assert np.array_equal(session.sample(labels="SWAN", steps=1).latents, session.sample(labels=3, steps=1).latents)
        with pytest.raises(Argument, match="0 and 1"):
            session.sample(labels="BAT")
    with diffaccel.Model(write_dit(tmp_path / "plain")).session() as session, pytest.raises(TypeError, match="labels must be an integer"):
        session.sample(labels="tench")


# ---- prompts ----


@pytest.mark.parametrize("prompt, count", [
    ("h", 1), ("", 1), ("h\0", 1), (["h", "some more", ""], 3), (("h", "m"), 2), (np.array(["h", "more"]), 2), (np.str_("h"), 1),
    (np.array(["h", "more"], dtype=object), 2), (iter(["h", "m", "x"]), 3), (np.array("h"), 1),
])
def test_prompts(llada, prompt, count):  # noqa: F811
    result = llada.session().sample(prompt=prompt, length=4)
    assert result.tokens.shape == (count, 4)
    if count == 2:
        assert np.array_equal(llada.session().sample(prompt=prompt[0], length=4).tokens[0], result.tokens[0])
    if count == 1:
        ids = llada.tokenizer.encode(str(prompt))
        assert np.array_equal(llada.session().sample(tokens=ids, length=4).sequences[0], result.sequences[0])


@pytest.mark.parametrize("prompt, error, words", [
    ([], Argument, "prompt"), ((), Argument, "prompt"), (b"hel", TypeError, "decode"), ([b"hel"], TypeError, "bytes"),
    (bytearray(b"hel"), TypeError, "bytearray"), (None, Argument, "prompt or tokens"), (7, TypeError, "tokens="), ([1, 2], TypeError, "tokens="),
    ([1, "a"], TypeError, "tokens="), ([[1, 2], "x"], TypeError, "tokens="), (np.array([1, 2]), TypeError, "tokens="),
    ({"a": 1}, TypeError, "dict"), ([None], TypeError, "None"), ("a\ud800", Argument, "surrogate"), (["h", "\udfff"], Argument, "surrogate"),
    (["h", "a\0b"], Argument, "NUL"),
])
def test_prompts_that_are_none(llada, prompt, error, words):  # noqa: F811
    with pytest.raises(error, match=words):
        llada.session().sample(prompt=prompt, length=4)


@pytest.mark.parametrize("tokens, count", [
    ([1, 2], 1), ((1, 2), 1), ([[1, 2], [3]], 2), ([[]], 1), (np.array([[1, 2], [3, 4]]), 2), (np.array([1, 2], np.uint8), 1),
    (np.array([1, 2], dtype=object), 1), (np.array([[1, 2], [3]], dtype=object), 2), ([np.array([1, 2]), np.array([3])], 2),
    ([(1, 2), np.array([3])], 2), (range(3), 1), ([np.int32(1), 2], 1), ([np.array(1), 2], 1),
])
def test_tokens_of_prompts(llada, tokens, count):  # noqa: F811
    result = llada.session().sample(tokens=tokens, length=4)
    assert result.tokens.shape == (count, 4)
    if count > 1:
        assert np.array_equal(llada.session().sample(tokens=list(tokens[0]), length=4).tokens[0], result.tokens[0])
        flat, lengths = np.concatenate([np.asarray(one) for one in tokens]), [len(one) for one in tokens]
        assert np.array_equal(llada.session().sample(tokens=flat, lengths=lengths, length=4).tokens, result.tokens)


@pytest.mark.parametrize("tokens, error", [
    ([], Argument), ((), Argument), ("hel", TypeError), (["h"], TypeError), ([[1, 2], "x"], TypeError), (b"hel", TypeError),
    ([b"hel"], TypeError), (None, Argument), (7, TypeError), ([1, "a"], TypeError), ([1.0], TypeError), ([1, 2.5], TypeError), (np.array([1.5]), TypeError),
    ({"a": 1}, TypeError), ([True, 2], TypeError), ([None], TypeError), ([2**64], OverflowError), ([1, [2]], TypeError),
    (np.zeros((1, 2, 3), int), diffaccel.ShapeError), (np.zeros((0, 2), int), Argument), ([[[1]]], diffaccel.ShapeError),
    ([[1, [2]]], (TypeError, diffaccel.ShapeError)), ([300], Argument), ([-1], Argument),
])
def test_tokens_that_are_none(llada, tokens, error):  # noqa: F811
    with pytest.raises(error):
        llada.session().sample(tokens=tokens, length=4)
    with pytest.raises((Argument, TypeError, OverflowError, diffaccel.ShapeError)):
        llada.session().sample(tokens=tokens, lengths=[1, 2], length=4)


def test_prompt_or_tokens(llada):  # noqa: F811
    with pytest.raises(Argument, match="both"):
        llada.session().sample(prompt="h", tokens=[1], length=4)
    with pytest.raises(diffaccel.DiffAccelError, match="lengths"):
        llada.session().sample(prompt="h", lengths=[1], length=4)


def test_texts_and_tokens(llada):  # noqa: F811
    tokenizer = llada.tokenizer
    for text in ("a\ud800b", "\udc80"):
        with pytest.raises(Argument, match="surrogate"):
            tokenizer.encode(text)
    for text in (b"abc", None, 3, ["abc"]):
        with pytest.raises(TypeError, match="text"):
            tokenizer.encode(text)
    for tokens, error in (([1.5], TypeError), ([2**64], OverflowError), ([[1, 2]], diffaccel.ShapeError), ("12", TypeError), (7, diffaccel.ShapeError)):
        with pytest.raises(error):
            tokenizer.decode(tokens)
    for messages in ("hi", {"role": "user"}, ["hi"], [{"role": "user", "content": 3}], [{"role": "user", "content": b"x"}]):
        with pytest.raises(TypeError):
            diffaccel.render_chat("llada", messages)
    with pytest.raises(Argument, match="content.*surrogate"):
        diffaccel.render_chat("llada", [{"role": "user", "content": "\ud800"}])


# ---- plans ----


def test_plans_by_name(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = tiny.session(plan=diffaccel.Plan(l2c={"policy": "alternate"})).sample(labels=[1], steps=4).latents
    diffaccel.Plan(l2c={"policy": "alternate"}).save("mine.json")
    for plan in ("alternate", "mine.json", tmp_path / "mine.json", {"method": "l2c", "policy": "alternate"}, diffaccel.Plan.load("alternate")):
        assert np.array_equal(tiny.session(plan=plan).sample(labels=[1], steps=4).latents, expected)
    diffaccel.Plan.load("interval:2").save("alternate")
    assert diffaccel.Plan.load("alternate").describe()["methods"][0]["policy"] == "interval", "a file of that name comes first"
    for plan in (3, b"alternate", ["alternate"]):
        with pytest.raises(TypeError, match="plan"):
            tiny.session(plan=plan)
    with pytest.raises(diffaccel.FileError, match='did you mean "alternate"'):
        tiny.session(plan="altrenate")
    with pytest.raises(diffaccel.FormatError, match='did you mean "alternate"'):
        diffaccel.Plan.parse("altrenate")
    with pytest.raises(Argument, match="interval:N"):
        tiny.session(plan="interval:0")
    with pytest.raises(TypeError, match="names"):
        diffaccel.Plan(l2c={1: 2})


def test_steps_of_a_router(tiny):
    router = diffaccel.Plan(l2c={"logits": np.ones((7, 6)), "threshold": 0.5})
    assert len(tiny.session(plan=router).sample(labels=[1]).stats["steps"]) == 7
    assert router.grid(tiny).shape == (7, 6) and diffaccel.Plan().grid(tiny).shape == (50, 6)
    assert len(tiny.session().sample(labels=[1], spacing="3,2").stats["steps"]) == 5
    with pytest.raises(diffaccel.IncompatibleError):
        tiny.session(plan=router).sample(labels=[1], steps=6)

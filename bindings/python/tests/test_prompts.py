"""Prompts and tokens of every kind: what is taken, and what is none."""

import numpy as np
import pytest
from test_inputs import Argument
from test_text import folder, llada  # noqa: F401 - fixtures

import diffaccel


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

"""Labels of every kind: numbers, names of classes and their synonyms."""

import numpy as np
import pytest
from conftest import write_dit
from test_inputs import Argument

import diffaccel


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
    with diffaccel.Model(write_dit(tmp_path / "plain")).session() as session, pytest.raises(Argument, match="no names for its classes"):
        session.sample(labels="tench")

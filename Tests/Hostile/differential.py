"""The library's verdict on mutated safetensors files beside that of the reference, the safetensors package.

    differential.py [files] [seed]

What the reference refuses, the library must refuse. What the reference accepts, the library must accept, but for documented rules
on which it is stricter; each such refusal must give one of the texts below, and the file must have the property it names.
"""

import ctypes
import json
import os
import random
import re
import struct
import sys
import tempfile

from safetensors import SafetensorError, safe_open

sys.path.insert(0, os.path.dirname(__file__))
from mutations import mutated  # noqa: E402

library = ctypes.CDLL(os.environ["DIFFACCEL_LIBRARY"])
library.da_last_error.restype = ctypes.c_char_p
library.da_model_open.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]


def ours(path):
    """None when the header is accepted, which shows by getting as far as the missing config; else the text."""
    model = ctypes.c_void_p()
    status = library.da_model_open(path.encode(), None, ctypes.byref(model))
    text = library.da_last_error().decode()
    assert status < 0 and not model.value, (status, text)
    return None if "no config.json" in text else text


def reference(path):
    try:
        with safe_open(path, framework="numpy") as file:
            file.keys()
        return None
    except SafetensorError as error:
        return str(error) or "refused"


def header(data):
    """The header's text and its members as a list of pairs, or None when it cannot be read."""
    text = data[8 : 8 + struct.unpack("<Q", data[:8])[0]].decode()
    return text, json.loads(text, object_pairs_hook=list)


def pairs(value):
    """All (object, key) pairs at every level of a header read with pairs."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, tuple):
                yield id(value), item[0]
                yield from pairs(item[1])
            else:
                yield from pairs(item)


def shapes(members):
    for name, entry in members:
        if name != "__metadata__" and isinstance(entry, list):
            yield from (value for key, value in entry if key == "shape")


def repeats(text, members):
    found = list(pairs(members))
    return len(found) != len(set(found))


def dimensions(text, members):
    """More than 8 axes, or a product of the non-zero ones that is 2^48 or more."""
    for shape in shapes(members):
        product = 1
        for extent in shape:
            product *= max(extent, 1)
        if len(shape) > 8 or product >= 1 << 48:
            return True
    return False


def names(text, members):
    return any(not name or len(name.encode()) > 1024 or "\0" in name for name, _ in members)


def unreadable(text, members):
    """A NUL in a string, or an integer beyond 64 bits: the JSON reader takes neither."""
    return "\\u0000" in text or any(int(digits) >= 1 << 63 for digits in re.findall("[0-9]{19,}", text))


# Text of the refusal, and what must be so for it to be right. In the order in which they are tried.
STRICTER = [
    ("does not begin with {", lambda text, members: text[:1] != "{"),
    ("duplicate", repeats),
    ("shape", dimensions),
    ("a name has 1 to 1024 bytes", names),
    ("bad JSON", unreadable),
    ("-0 where a size was expected", lambda text, members: "-0" in text),
    ("deep", lambda text, members: text.count("[") + text.count("{") > 32),
]


def explained(data, text):
    source, members = header(data)
    return any(part in text and holds(source, members) for part, holds in STRICTER)


def main(files=20000, seed=1):
    source = random.Random(seed)
    passed = failed = both = neither = stricter = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = os.path.join(folder, "x.safetensors")
        for number in range(files):
            data = mutated(source, number)
            with open(path, "wb") as file:
                file.write(data)
            found, expected = ours(path), reference(path)
            right = True
            if found is None and expected is None:
                both += 1
            elif found is not None and expected is not None:
                neither += 1
            elif found is None:
                right = False
            else:
                right = explained(data, found)
                stricter += right
            passed, failed = passed + right, failed + (not right)
            if not right and failed <= 20:
                print(f"file {number}: ours: {found or 'accepted'}; reference: {expected or 'accepted'}; {data[:300]!r}")
    print(f"accepted by both {both}, refused by both {neither}, refused by documented rules only {stricter}")
    if min(both, neither, stricter) < files // 100:
        print("one of the three is too rare: the files say little")
        failed += 1
    print(f"differential: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))

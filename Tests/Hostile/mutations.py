"""Safetensors files that are good, or nearly: built with chosen faults, then sometimes changed byte by byte."""

import json
import struct

SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
NUMBERS = ["0", "1", "-1", "-0", "2147483648", "4294967296", "4611686018427387905", "9223372036854775807"]
NUMBERS += ["9223372036854775808", "18446744073709551615", "18446744073709551616", "1.0", "1e0", "01", "null", '"1"', "[]"]
TOKENS = ["{", "}", "[", "]", ",", ":", '"', " ", "\\", "\\u0000", "\\ud800", "\n", "F32", "0", "é", "null"]


def entry(name, dtype, shape, begin, end, extra=""):
    shape = ",".join(map(str, shape))
    return f'{json.dumps(name)}:{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]{extra}}}'


def good(source):
    """Header text and count of data bytes of a sound file of up to six tensors."""
    entries, offset = [], 0
    for index in range(source.randrange(7)):
        dtype = source.choice(list(SIZES))
        shape = [source.choice([0, 1, 1, 2, 3]) for _ in range(source.choice([0, 1, 2, 2, 3, 4, 8]))]
        count = SIZES[dtype]
        for extent in shape:
            count *= extent
        name = source.choice([f"blocks.{index}.weight", f"é{index}", f"a b {index}"])
        entries.append(entry(name, dtype, shape, offset, offset + count, source.choice(["", "", "", ',"x":[1,{}]'])))
        offset += count
    if source.randrange(3) == 0:
        entries.append('"__metadata__":{"format":"pt"}')
    source.shuffle(entries)
    return "{" + ",".join(entries) + "}" + source.choice(["", "", " ", "  \n"]), offset


def strict(source):
    """What the reference takes and the documented rules refuse, and neighbours of it that both take."""
    one = entry("a", "F32", [1], 0, 4)
    return source.choice(
        [
            (" {" + one + "}", 4),
            ("{" + one + "," + one + "}", 4),
            ("{" + entry("a", "F32", [1] * source.randrange(7, 12), 0, 4) + "}", 4),
            ("{" + entry("a", "F32", [0, 1 << source.randrange(40, 62)], 0, 0) + "}", 0),
            ("{" + entry("", "F32", [1], 0, 4) + "}", 4),
            ("{" + entry("a" * source.randrange(1020, 1030), "F32", [1], 0, 4) + "}", 4),
            ("{" + one.replace('"a"', '"a\\u0000"') + "}", 4),
            ('{"__metadata__":{"k":"1","k":"2"},' + one + "}", 4),
        ]
    )


def mutated(source, number):
    """The bytes of file `number`."""
    text, data = strict(source) if number % 16 == 0 else good(source)
    kind = source.randrange(6)
    if kind == 1:
        text = replace_number(source, text)
    elif kind == 2:
        at = source.randrange(len(text) + 1)
        text = text[:at] + source.choice(TOKENS) + text[at + source.randrange(3) :]
    elif kind == 3:
        data = max(0, data + source.choice([-4, -1, 1, 4, 1000]))
    encoded = text.encode()
    length = len(encoded)
    if source.randrange(20) == 0:
        length = source.choice([0, 1, length - 1, length + 1, length + data, 100000001, 1 << 31, 1 << 63, (1 << 64) - 1]) % (1 << 64)
    whole = bytearray(struct.pack("<Q", length) + encoded + bytes([0x40]) * data)
    if kind == 4:
        for _ in range(source.randrange(1, 4)):
            whole[source.randrange(len(whole))] = source.randrange(256)
    if kind == 5 and source.randrange(3) == 0:
        del whole[source.randrange(len(whole)) :]
    return bytes(whole)


def replace_number(source, text):
    places = [at for at, letter in enumerate(text) if letter.isdigit() and text[at - 1] in "[,"]
    if not places:
        return text
    at = source.choice(places)
    end = at
    while text[end].isdigit():
        end += 1
    return text[:at] + source.choice(NUMBERS) + text[end:]

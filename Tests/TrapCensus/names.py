"""Names of functions that stay the same from build to build."""

import re
import subprocess

from disassembly import OWN

PREFIX = re.compile(
    r"^(?:(?:generic |function signature |generic not re-abstracted |generic partial |closure )*specialization <|"
    r"(?:merged|static|partial apply forwarder for|partial apply for|outlined copy of|default argument \d+ of) |"
    r"(?:implicit )?closure #\d+ |variable initialization expression of |suspend resume partial function for )"
)


def demangled(symbols, *options):
    """The demangled names of `symbols`, in their order."""
    text = subprocess.run(
        ["swift", "demangle", "--compact", *options], input="\n".join(symbols), check=True, capture_output=True, text=True
    ).stdout
    return text.splitlines()


def behind_brackets(text):
    """What follows the angle brackets that `text` begins inside of."""
    depth = 1
    for position, letter in enumerate(text):
        if letter == "<":
            depth += 1
        elif letter == ">" and text[position - 1] != "-":
            depth -= 1
            if depth == 0:
                return text[position + 1 :]
    return text


def base(full):
    """The function whose specialisation, closure or forwarder `full` names."""
    # The file a private type stands in: its " in " is not the one behind a closure's type.
    full = re.sub(r"\((\w+) in _[0-9A-F]{20,}\)", r"\1", full)
    while match := PREFIX.match(full):
        rest = full[match.end() :]
        if match[0].endswith("<"):
            full = behind_brackets(rest).removeprefix(" of ")
        elif "closure #" in match[0]:
            # The closure's own type stands between: "closure #1 (Swift.Int) throws -> () in Module.function".
            full = rest.partition(" in ")[2] or rest
        else:
            full = rest
    return full


def module(full):
    """The module of the source that the function `full` was compiled from."""
    function = base(full)
    if extension := re.search(r"\(extension in (\w+)\):", function):
        return extension[1]
    if witness := re.search(r" in conformance .* in (\w+)$", function):
        return witness[1]
    found = re.search(r"(?:^|[ (\[])(\w+)\.", function)
    return found[1] if found else "Swift"


def simplified(short):
    """`short` without what may change from build to build."""
    short = re.sub(r" with unmangled suffix \".*?\"", "", short)
    short = re.sub(r"\.(llvm|isra|part|constprop|cold)(\.\d+)*", "", short)
    short = re.sub(r"\b_[0-9A-F]{20,}\b|\$[0-9a-f]{8,}", "", short)
    # One source function may be specialised several times, or under one name merged with another.
    return re.sub(r"^(?:specialized |merged )+", "", short)


class Namer:
    """Target and printable name of each symbol."""

    def __init__(self, symbols, homes):
        self.homes = homes
        swift = [symbol for symbol in symbols if symbol.startswith("$s")]
        self.full = dict(zip(swift, demangled(swift)))
        self.short = dict(zip(swift, demangled(swift, "--simplified")))

    def __call__(self, symbol):
        """(target, name), or None when the function is not of the library.

        The target of standard-library code that was specialised in one of the library's objects is "specialised".
        """
        emitted = self.homes.get(symbol)
        if symbol not in self.full:
            return (emitted[0], simplified(symbol)) if emitted else None
        source = module(self.full[symbol])
        name = simplified(self.short[symbol])
        if source in OWN:
            return source, name
        return ("specialised", name) if emitted else None

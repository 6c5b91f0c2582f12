"""For mkdocstrings: lines `name: text` of docstrings become lists, indented groups of them under their own heading."""

import re
import textwrap

import griffe

_OPTION = re.compile(r"^( *)([a-z_][a-z_0-9]*(?:, [a-z_][a-z_0-9]*)*): (.+)$")
_GROUP = re.compile(r"^([A-Z][^.:]*(?:\([^)]*\))?):$")


def as_lists(text):
    lines, margin = [], None
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        option = _OPTION.match(line)
        if option and (margin is None or indent == margin) and not line.startswith("    " * 2):
            if margin is None and lines and lines[-1].strip():
                lines.append("")
            margin = indent
            lines.append(f"- `{option[2]}`: {option[3]}")
        elif margin is not None and line.strip() and indent > margin:
            lines[-1] += " " + line.strip()
        elif group := _GROUP.match(line):
            lines += ["", f"**{group[1]}**", ""]
            margin = None
        else:
            lines.append(line)
            margin = None
    return "\n".join(lines)


class Lists(griffe.Extension):
    """Changes every docstring of the package."""

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = as_lists(textwrap.dedent(obj.docstring.value))

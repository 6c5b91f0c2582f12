"""The page of the C interface, from the header: its sections, each declaration under its name, and the comment before it."""

import re

import dialects

_INTRODUCTION = """# C reference

`include/diffaccel.h`, the whole interface of `libdiffaccel.so`, as one page. [The C library](../guide/c-library.md) says how it behaves inside of a
host, [five programs](c-programs.md) show it at work.

"""
_PART = re.compile(r"/\*.*?\*/", re.S)
_GUARD = re.compile(r'#(ifn?def|endif|include|define DIFFACCEL_H)\b|extern "C" \{$|\}$')
_SECTION = re.compile(r"/\* -{4} (.+?) -+ \*/")
_NAMES = re.compile(r'`[^`\n]+`|"[^"\n]{1,80}"|\bDA_[A-Z0-9_]+\b\*?|\bda_[a-z0-9_]+\b(?:\(\))?|\{[^{}\n]*\}|\bDIFFACCEL_[A-Z_]+\b')


class Header:
    """The header, cut into comments that begin a line and what follows each of them."""

    def __init__(self, text, functions):
        types = re.findall(r"^(?:\} |typedef .*\(\*)(da_[a-z_]+)\)?[;(]", text, re.M)
        self.anchors = {*functions, *types}
        self.functions = set(functions)
        self.parts = []
        starts = [match.start() for match in re.finditer(r"^/\*", text, re.M)]
        for start, end in zip(starts, [*starts[1:], len(text)]):
            comment = _PART.match(text, start)
            code = text[comment.end():end].strip("\n")
            code = "\n".join(line for line in code.split("\n") if not _GUARD.match(line))
            self.parts.append((comment[0], re.sub(r"\n{3,}", "\n\n", code).strip("\n")))

    def prose(self, line):
        """A line of running text: names as code, those that are declared as links."""
        pieces, place = [], 0
        for match in _NAMES.finditer(line):
            pieces.append(dialects.escaped(line[place:match.start()]))
            name = match[0].strip("`")
            plain = name.rstrip("()")
            pieces.append(f"[`{name}`](#{plain})" if plain in self.anchors else f"`{name}`")
            place = match.end()
        return "".join(pieces) + dialects.escaped(line[place:])


def lines_of(comment):
    """The text of a comment, line by line, with what is indented more than its own margin still so."""
    inner = comment[2:-2].rstrip()
    lines = [re.sub(r"^ \* ?", "", line) if number else line.lstrip() for number, line in enumerate(inner.split("\n"))]
    return [line.rstrip() for line in lines]


def listed(lines):
    """Indented lines as items where they are a list (- …, 1. …, "name": …), with their continuations; None where they are in columns."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    items = []
    for line in lines:
        text = line.strip()
        if len(line) - len(line.lstrip()) == margin and (match := re.match(r'- |\d+\. |(?="[a-z_0-9, "]+":)', text)):
            items.append([text[match.end():]])
        elif items:
            items[-1].append(text)
        else:
            return None
    return [" ".join(item) for item in items]


def described(header, comment):
    """A comment as Markdown: paragraphs, lists, and what is laid out in columns as it is."""
    blocks, kind = [], None
    for line in lines_of(comment):
        now = "indented" if line.startswith("  ") else "text" if line else None
        if now and now == kind and not line.startswith("Errors:"):
            blocks[-1][1].append(line)
        elif now:
            blocks.append((now, [line]))
        kind = now
    texts = []
    for now, lines in blocks:
        items = listed(lines) if now == "indented" else None
        if items:
            numbered = bool(re.match(r"\s+\d+\. ", lines[0]))
            texts.append("\n".join((f"{number}. " if numbered else "- ") + header.prose(item) for number, item in enumerate(items, 1)))
        elif now == "indented":
            margin = min(len(line) - len(line.lstrip()) for line in lines)
            texts.append("```text\n" + "\n".join(line[margin:] for line in lines) + "\n```")
        else:
            texts.append(header.prose(" ".join(lines)))
    return "\n\n".join(texts)


def named(code):
    """What is declared: functions, structs and types by name, in order."""
    return re.findall(r"^(?:const char \*|int32_t )(da_[a-z_0-9]+)\(|^\} (da_[a-z_]+);|^typedef .*?\(\*(da_[a-z_]+)\)", code, re.M)


def page(text, functions):
    """The page; `functions` are the names that the library exports, each of which has to be on it."""
    header = Header(text, functions)
    parts, found = [_INTRODUCTION, "## Promises and conventions\n\n"], set()
    for comment, code in header.parts:
        if section := _SECTION.match(comment):
            title = section[1].strip()
            parts.append(f"## {title[0].upper()}{title[1:]}\n\n")
            declared = code
            if declared.strip():
                parts.append(f"```c\n{declared}\n```\n\n")
            continue
        names = [next(filter(None, name)) for name in named(code)]
        found |= set(names) & header.functions
        for name in names[:1]:
            parts.append(f"### `{name}` {{ #{name} }}\n\n")
        parts += [f'<a id="{name}"></a>\n' for name in names[1:]]
        if names or not code:
            parts.append((f"```c\n{code}\n```\n\n" if code else "") + described(header, comment) + "\n\n")
        else:
            parts.append(described(header, comment) + f"\n\n```c\n{code}\n```\n\n")
    if missing := header.functions - found:
        raise SystemExit("the C reference lacks " + ", ".join(sorted(missing)))
    return "".join(parts)

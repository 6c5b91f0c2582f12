"""What differs between the Markdown of the repository, DocC's articles included, and that which MkDocs reads."""

import re

_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
_LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)\)")
_ARTICLE = re.compile(r"<doc:([A-Za-z]+)>")
_SYMBOL = re.compile(r"(?<!`)``([A-Za-z][^`\n]*)``(?!`)")


def outside_of_code(text, change):
    """`text` with `change` made on each stretch of lines that is in no fence."""
    parts, lines, fenced = [], [], False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            parts.append(("code" if fenced else "text", lines + [line] if fenced else lines))
            lines = [] if fenced else [line]
            fenced = not fenced
        else:
            lines.append(line)
    parts.append(("code" if fenced else "text", lines))
    return "\n".join("\n".join(part) if kind == "code" else change("\n".join(part)) for kind, part in parts if part)


def spaced(text):
    """Lists and tables with a blank line before them, which MkDocs' Markdown asks for."""
    lines = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        begins_list = _ITEM.match(line) and not _ITEM.match(before) and not before.startswith((" ", ">"))
        begins_table = line.startswith("| ") and not before.startswith("| ")
        if before.strip() and (begins_list or begins_table):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def deepened(text):
    """What belongs to items of numbered lists indented by four, which MkDocs' Markdown asks for; three elsewhere."""
    lines, inside = [], False
    for line in text.split("\n"):
        if line.strip():
            inside = bool(re.match(r"\d+\. ", line)) or inside and line.startswith("   ")
        lines.append(" " + line if inside and line.startswith("   ") else line)
    return "\n".join(lines)


def linked(text, target):
    """`text` with every link [..](path) that is no address going to `target(path)`, inline code left alone."""
    def change(match):
        path = match[1]
        return match[0] if re.match(r"[a-z]+:|#", path) else "](" + target(path) + ")"

    return _LINK.sub(change, text)


def from_docc(text, article, symbol):
    """DocC's links as ordinary ones: `article(name)` and `symbol(path)` give (title, address); a symbol without a page has no address."""
    def to_article(match):
        title, address = article(match[1])
        return f"[{title}]({address})"

    def to_symbol(match):
        title, address = symbol(match[1])
        return f"[`{title}`]({address})" if address else f"`{title}`"

    return _SYMBOL.sub(to_symbol, _ARTICLE.sub(to_article, text))


def title_of(text):
    """The first heading, without marks of code."""
    return re.search(r"^# (.+)$", text, re.M)[1].strip().strip("`")


def escaped(text):
    """Plain text with nothing in it that Markdown would take for a mark."""
    return re.sub(r"([\\`*_{}\[\]#])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))

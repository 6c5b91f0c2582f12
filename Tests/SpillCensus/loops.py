"""The innermost loops of a function, from its instructions: natural loops of the flow graph that contain no other loop."""

import re
from typing import NamedTuple

# x86-64 and AArch64: jumps with a target inside the function, and what does not go on to the next instruction.
JUMP = re.compile(r"^(j[a-z]+|b|b\.[a-z]+|cbn?z|tbn?z|loop\w*)$")
TARGET = re.compile(r"(?:^|[\s,])0x([0-9a-f]+)\b(?: <[^>]*>)?$")
ENDS = re.compile(r"^(jmp|jmpq|b|br|ret|retq|ud2|ud1|brk|udf)$")


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str


def innermost(instructions):
    """Lists of the instructions of each innermost loop, in the order of the code."""
    blocks, edges = flow(instructions)
    loops = {}
    for source, header in back_edges(edges):
        loops.setdefault(header, set()).update(body(edges, source, header))
    for header, members in sorted(loops.items()):
        if not any(other in members for other in loops if other != header):
            yield [instruction for block in sorted(members) for instruction in blocks[block]]


def flow(instructions):
    """Blocks of straight code, {first address: instructions}, and where each goes, {first address: addresses}."""
    places = {instruction.address for instruction in instructions}
    starts, behind_jump = {instructions[0].address}, False
    targets = {}
    for instruction in instructions:
        if behind_jump:
            starts.add(instruction.address)
        jump = JUMP.match(instruction.name)
        behind_jump = bool(jump or ENDS.match(instruction.name))
        if jump and (found := TARGET.search(instruction.operands)) and int(found[1], 16) in places:
            targets[instruction.address] = int(found[1], 16)
            starts.add(targets[instruction.address])
    blocks, current = {}, None
    for instruction in instructions:
        if instruction.address in starts:
            current = blocks.setdefault(instruction.address, [])
        current.append(instruction)
    edges, order = {}, sorted(blocks)
    for start, following in zip(order, order[1:] + [None]):
        last = blocks[start][-1]
        edges[start] = {targets[last.address]} if last.address in targets else set()
        if following is not None and not ENDS.match(last.name):
            edges[start].add(following)
    return blocks, edges


def back_edges(edges):
    """(source, header) of the edges that lead to a block on the way there, by a walk through the graph."""
    state, found = {}, []
    for root in sorted(edges):
        if root in state:
            continue
        stack = [(root, iter(sorted(edges[root])))]
        state[root] = "open"
        while stack:
            block, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[block] = "done"
                stack.pop()
            elif state.get(following) == "open":
                found.append((block, following))
            elif following not in state:
                state[following] = "open"
                stack.append((following, iter(sorted(edges[following]))))
    return found


def body(edges, source, header):
    """The blocks of the loop that `source` closes: those that reach it without going through `header`."""
    before = {}
    for block, following in edges.items():
        for other in following:
            before.setdefault(other, []).append(block)
    members, waiting = {header, source}, [source] if source != header else []
    while waiting:
        for block in before.get(waiting.pop(), []):
            if block not in members:
                members.add(block)
                waiting.append(block)
    return members

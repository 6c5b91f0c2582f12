"""Greyscale PNG files and picture grids, with the standard library only."""

import struct
import zlib

import torch


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(path, pixels):
    """Write a uint8 [height, width] tensor as an 8-bit greyscale PNG."""
    height, width = pixels.shape
    rows = b"".join(b"\0" + bytes(row.tolist()) for row in pixels)
    with open(path, "wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
        stream.write(_chunk(b"IDAT", zlib.compress(rows, 9)))
        stream.write(_chunk(b"IEND", b""))


def grid(images, columns, zoom=1, gap=2):
    """Arrange uint8 images [N,H,W] row by row on a grey sheet, each pixel enlarged `zoom` times."""
    count, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.full((rows * (height + gap) + gap, columns * (width + gap) + gap), 64, dtype=torch.uint8)
    for index in range(count):
        top = gap + index // columns * (height + gap)
        left = gap + index % columns * (width + gap)
        sheet[top:top + height, left:left + width] = images[index]
    return sheet.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)

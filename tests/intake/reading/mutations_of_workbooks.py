"""Workbooks with random damage: to their bytes, to the members of their zip, to their XML. The same seed, the same."""

import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress

from .packages import SHEET, STRINGS, STYLES, book, inline, parts, row, sheet, zipped

_BYTES = b"<>/\"'=&;#A0 \x00\xff\xfe-.eE19"
_NUMBERS = [
    "",
    "-1",
    "0",
    "1e400",
    "NaN",
    "9" * 400,
    "2958466",
    "A0",
    "XFD1048577",
    "_x0000_",
    "\u200b",
    "4294967296",
    "s",
]
_TAG = re.compile(rb"<[^>]*>")
_VALUE = re.compile(rb'(?<==")[^"]*(?=")|(?<=<v>)[^<]*|(?<=<t>)[^<]*')


def good_workbooks() -> list[bytes]:
    """What is damaged: small valid workbooks of the feed target that use what workbooks can do."""
    formats = '<numFmts><numFmt numFmtId="164" formatCode="dd/mm/yyyy"/></numFmts>'
    styles = f'{formats}<cellXfs><xf/><xf numFmtId="164"/></cellXfs>'
    cells = [
        row('<c r="A2" t="s"><v>0</v></c>', '<c r="B2" s="1"><v>45261</v></c>', '<c r="C2"><v>10</v></c>'),
        row('<c t="str"><f>A2</f><v>KC_x0041_1</v></c>', '<c t="e"><v>#N/A</v></c>', '<c t="b"><v>1</v></c>'),
    ]
    shared = ["<t>KC001</t>", "<r><t>a</t></r><r><t>b</t></r><rPh><t>c</t></rPh>"]
    data = sheet(*cells, before='<dimension ref="A1:E3"/>', after='<mergeCells><mergeCell ref="A1:B1"/></mergeCells>')
    sheets = {"Lama": sheet(row()), "Data": data, "Lain": sheet(inline("x"))}
    several = parts(sheets, states={"Lama": "hidden"}, strings=shared, styles=styles)
    return [book(*cells, strings=shared, styles=styles), zipped(several)]


def mutations(seed: int) -> Iterator[tuple[str, bytes]]:
    """Endless damaged workbooks of a seed, each with the kinds of damage done to it."""
    dice = random.Random(seed)
    good = good_workbooks()
    while True:
        yield damaged(dice, dice.choice(good))


def damaged(dice: random.Random, content: bytes) -> tuple[str, bytes]:
    """A workbook with some damage, and the kinds of it."""
    names = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        mutate = dice.choice(_MUTATIONS)
        names.append(mutate.__name__.strip("_"))
        with suppress(Exception):  # what is damaged already cannot always be taken apart
            content = mutate(dice, content)
    return "+".join(names), content


def _flip(dice: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    return bytes(damaged)


def _cut(dice: random.Random, content: bytes) -> bytes:
    start, end = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:] if dice.random() < 0.7 else content[:end]


def _repeat(dice: random.Random, content: bytes) -> bytes:
    start, end = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] * dice.randint(1, 3) + content[end:]


def _splice(dice: random.Random, content: bytes) -> bytes:
    other = dice.choice(good_workbooks())
    return content[: dice.randrange(len(content) + 1)] + other[dice.randrange(len(other)) :]


def _insert(dice: random.Random, content: bytes) -> bytes:
    place = dice.randrange(len(content) + 1)
    return content[:place] + bytes(dice.choices(_BYTES, k=dice.randint(1, 8))) + content[place:]


def _xml(damage: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random, bytes], bytes]:
    """`damage` done to one part of the package; its checksum and length are right again."""

    def mutate(dice: random.Random, content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        likely = [name for name in (SHEET, STRINGS, STYLES) if name in members]
        name = dice.choice([*likely, *members])
        members[name] = damage(dice, members[name]) if members[name] else b"<"
        return zipped(dict(members))

    mutate.__name__ = f"xml{damage.__name__}"
    return mutate


def _tags(dice: random.Random, xml: bytes) -> bytes:
    """A tag is taken out, doubled, moved, or put many times within itself."""
    tags = list(_TAG.finditer(xml))
    if not tags:
        return xml
    tag = dice.choice(tags)
    kind = dice.randrange(4)
    if kind == 0:
        return xml[: tag.start()] + xml[tag.end() :]
    if kind == 1:
        return xml[: tag.end()] + tag[0] * dice.choice([1, 2, 1000]) + xml[tag.end() :]
    other = dice.choice(tags).start()
    if kind == 2:
        return xml[:other] + tag[0] + xml[other:]
    return xml[: tag.start()] + b"<x>" * 5000 + tag[0] + b"</x>" * 5000 + xml[tag.end() :]


def _values(dice: random.Random, xml: bytes) -> bytes:
    """The value of an attribute or cell becomes another."""
    places = list(_VALUE.finditer(xml))
    if not places:
        return xml
    place = dice.choice(places)
    return xml[: place.start()] + dice.choice(_NUMBERS).encode() + xml[place.end() :]


def _members(dice: random.Random, content: bytes) -> bytes:
    """A member is left out, renamed, emptied, comes twice, or holds what another does."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = dice.randrange(len(members))
    name, data = members[place]
    kind = dice.randrange(5)
    if kind == 0:
        del members[place]
    elif kind == 1:
        members[place] = (name.upper().replace("/", "\\"), data)
    elif kind == 2:
        members[place] = (name, b"")
    elif kind == 3:
        members.append((name.swapcase(), data))
    else:
        members[place] = (name, dice.choice(members)[1])
    changed = io.BytesIO()
    with zipfile.ZipFile(
        changed, "w", dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    ) as new:
        for name, data in members:
            new.writestr(name, data)
    return changed.getvalue()


_MUTATIONS = [
    _flip,
    _cut,
    _repeat,
    _splice,
    _insert,
    _members,
    *map(_xml, [_flip, _cut, _repeat, _insert, _tags, _tags, _values, _values]),
]

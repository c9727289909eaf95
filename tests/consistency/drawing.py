"""Draws a part of a history as a picture that needs nothing else: an SVG.

Time goes to the right. Above, a lane for each client, with its operations as bars from call to return; those
of unknown outcome fade out to the right. Below, a lane for each node: a tick wherever one of its operations
returned, and what was done to the node, shaded through all lanes. Knows nothing of what may be wrong: the
operations to highlight are handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tests.consistency.history import Fault, History, Operation

_WIDTH = 1800
_LEFT = 130
_ROW = 18
_BAR = 13
_GAP = 8
#: About how wide a character of a label is, and how short a label may be cut.
_CHARACTER = 5.6
_LABEL_CHARACTERS_MIN = 3
_TICKS_COUNT = 12
#: Of how long the operations to explain took: how much is shown before and after them.
_MARGIN = 1.0
_LINE = 14

_COLOURS = {
    "kill": "#d62728",
    "stop": "#8c564b",
    "pause": "#9467bd",
    "cut": "#ff7f0e",
    "transfer": "#2ca02c",
}
_OTHER_COLOUR = "#7f7f7f"
_STYLE = (
    "text{font:10px monospace;fill:#222}.lane{font-weight:bold}.bar{fill:#c6dbef;stroke:#6baed6}"
    ".open{fill:url(#open);stroke:none}.bad{fill:#fcbba1;stroke:#cb181d;stroke-width:2}"
    ".rule{stroke:#ddd}.tick{stroke:#6baed6}.badtick{stroke:#cb181d;stroke-width:2}"
)
_FADE = (
    '<defs><linearGradient id="open"><stop offset="0" stop-color="#fdd0a2"/>'
    '<stop offset="1" stop-color="#fdd0a2" stop-opacity="0"/></linearGradient></defs>'
)


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where a lane is, from the top."""

    name: str
    top: int
    height: int


class _Scale:
    """From times to places."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self.begin_ns = begin_ns
        self.end_ns = max(end_ns, begin_ns + 1)

    def x(self, time_ns: int) -> float:
        """Where a time is, cut off at the edges."""
        inside = min(max(time_ns, self.begin_ns), self.end_ns)
        part = (inside - self.begin_ns) / (self.end_ns - self.begin_ns)
        return round(_LEFT + part * (_WIDTH - _LEFT - 10), 1)


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when."""

    begin_ns: int
    end_ns: int

    def has(self, begin_ns: int, end_ns: int) -> bool:
        """Whether what went on from here to there did so in the span too."""
        return begin_ns <= self.end_ns and end_ns >= self.begin_ns


def span_of(operations: Sequence[Operation], *, margin: float = 0.0) -> Span:
    """Return when operations were sent and answered, and of that time `margin` more before and after."""
    begin_ns = min(each.invoked_ns for each in operations)
    end_ns = max(each.invoked_ns if each.returned_ns is None else each.returned_ns for each in operations)
    slack_ns = int((end_ns - begin_ns) * margin)
    return Span(begin_ns - slack_ns, end_ns + slack_ns)


def explain(history: History, highlighted: Sequence[Operation], *, key: bytes, text: str) -> str:
    """Return the SVG of what was about one key around a few operations, which are highlighted."""
    span = span_of(highlighted, margin=_MARGIN)
    return draw(excerpt(history, span, key=key), span, highlighted=highlighted, text=text)


def draw(history: History, span: Span, *, highlighted: Collection[Operation], text: str) -> str:
    """Return the SVG of a history's operations and faults in a span of time, under a text of some lines."""
    shown = sorted(history.operations, key=lambda each: each.invoked_ns)
    scale = _Scale(span.begin_ns, span.end_ns)
    title = text.splitlines()
    head_bottom = 20 + _LINE * len(title)
    bad = set(map(id, highlighted))
    rows: dict[str, list[list[Operation]]] = {}
    for each in shown:
        _put(rows.setdefault(each.client, []), each, scale.end_ns)
    lanes, top = [], head_bottom + 16
    for name in sorted(rows):
        lanes.append(_Lane(name, top, _ROW * len(rows[name])))
        top += lanes[-1].height + _GAP
    nodes = sorted({each.node for each in shown} | {node for fault in history.faults for node in fault.nodes})
    node_lanes = {
        node: _Lane(f"node {node}", top + place * (_ROW + _GAP), _ROW) for place, node in enumerate(nodes)
    }
    bottom = top + len(nodes) * (_ROW + _GAP)
    parts = [
        *_rules(scale, head_bottom, bottom),
        *(part for fault in history.faults for part in _fault(fault, scale, node_lanes, head_bottom, bottom)),
        *(_name(lane) for lane in (*lanes, *node_lanes.values())),
    ]
    for lane in lanes:
        for place, row in enumerate(rows[lane.name]):
            parts += [
                part for each in row for part in _bar(each, scale, lane.top + place * _ROW, id(each) in bad)
            ]
    parts += [part for each in shown for part in _tick(each, scale, node_lanes[each.node], id(each) in bad)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{bottom + 30}">'
        f"<style>{_STYLE}</style>{_FADE}"
        '<rect width="100%" height="100%" fill="white"/>'
    )
    lines = [_text(10, 16 + _LINE * place, line) for place, line in enumerate(title)]
    return "\n".join([head, *lines, *parts, "</svg>"]) + "\n"


def excerpt(history: History, span: Span, *, key: bytes) -> History:
    """Return what of a history is about one key and in a span; of unknown outcomes, what was sent in it."""
    near = [
        each
        for each in history.operations
        if each.key == key
        and span.has(each.invoked_ns, each.invoked_ns if each.returned_ns is None else each.returned_ns)
    ]
    faults = [fault for fault in history.faults if span.has(fault.begin_ns, fault.end_ns)]
    return History(near, faults)


def _put(rows: list[list[Operation]], operation: Operation, end_ns: int) -> None:
    """Put an operation into the first row in which it overlaps none."""
    for row in rows:
        last = row[-1].returned_ns
        if (end_ns if last is None else last) <= operation.invoked_ns:
            row.append(operation)
            return
    rows.append([operation])


def _bar(operation: Operation, scale: _Scale, top: int, is_bad: bool) -> Iterator[str]:
    left = scale.x(operation.invoked_ns)
    right = scale.x(scale.end_ns if operation.returned_ns is None else operation.returned_ns)
    kind = "bad" if is_bad else "open" if operation.returned_ns is None else "bar"
    width = max(2.0, round(right - left, 1))
    yield (
        f'<g><rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{_BAR}"/>'
        f"<title>{_escaped(_details(operation, scale))}</title>"
    )
    _, _, label = str(operation).partition(": ")
    room = int(width / _CHARACTER)
    if is_bad or room >= _LABEL_CHARACTERS_MIN:
        label = label if is_bad else label[:room]
        is_too_long = left + len(label) * _CHARACTER > _WIDTH
        yield (
            _text(left - 2, top + 10, label, anchor="end")
            if is_too_long
            else _text(left + 2, top + 10, label)
        )
    yield "</g>"


def _details(operation: Operation, scale: _Scale) -> str:
    begin_ms = (operation.invoked_ns - scale.begin_ns) / 1e6
    end = "?" if operation.returned_ns is None else f"{(operation.returned_ns - scale.begin_ns) / 1e6:.3f} ms"
    return f"{operation}\n{begin_ms:.3f} .. {end}, connection {operation.connection}"


def _tick(operation: Operation, scale: _Scale, lane: _Lane, is_bad: bool) -> Iterator[str]:
    if operation.returned_ns is not None:
        x = scale.x(operation.returned_ns)
        kind = "badtick" if is_bad else "tick"
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{lane.top}" y2="{lane.top + lane.height}"/>'


def _fault(fault: Fault, scale: _Scale, lanes: dict[int, _Lane], top: int, bottom: int) -> Iterator[str]:
    if fault.end_ns < scale.begin_ns or fault.begin_ns > scale.end_ns:
        return
    colour = _COLOURS.get(fault.kind.partition(" ")[0], _OTHER_COLOUR)
    left, right = scale.x(fault.begin_ns), scale.x(fault.end_ns)
    width = max(2.0, round(right - left, 1))
    place = f'x="{left}" width="{width}" fill="{colour}"'
    yield f'<rect {place} y="{top}" height="{bottom - top}" fill-opacity="0.07"/>'
    for node in fault.nodes:
        yield f'<rect {place} y="{lanes[node].top}" height="{_ROW}" fill-opacity="0.4"/>'
    names = ", ".join(map(str, fault.nodes))
    yield _text(left + 2, bottom + 10, f"{fault.kind} {names}")


def _rules(scale: _Scale, top: int, bottom: int) -> Iterator[str]:
    for count in range(_TICKS_COUNT + 1):
        time_ns = scale.begin_ns + (scale.end_ns - scale.begin_ns) * count // _TICKS_COUNT
        x = scale.x(time_ns)
        yield f'<line class="rule" x1="{x}" x2="{x}" y1="{top + 6}" y2="{bottom}"/>'
        yield _text(x, top + 4, f"{(time_ns - scale.begin_ns) / 1e6:.1f} ms")


def _name(lane: _Lane) -> str:
    return f'<text class="lane" x="6" y="{lane.top + 11}">{_escaped(lane.name)}</text>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" xml:space="preserve">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """Control characters can't stand in XML at all, not even escaped."""
    return escape("".join(char if char.isprintable() or char == "\n" else "?" for char in text))

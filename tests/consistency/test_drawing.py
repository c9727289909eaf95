"""The picture of a violation: what must be in it, and that it is an SVG whatever clients wrote."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.consistency.drawing import draw, excerpt, explain, span_of
from tests.consistency.history import Fault, History, Operation

_SVG = "{http://www.w3.org/2000/svg}"


def _operation(client: str, node: int, begin: int, end: int | None, value: bytes = b"v") -> Operation:
    return Operation(client, begin, node, "cluster", (b"SET", b"k", value), begin, end, b"OK")


def _texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def test_drawing_has_a_lane_for_each_client_and_node_and_shows_the_faults() -> None:
    """Clients above, nodes below, also a node that was harmed and answered nobody."""
    operations = [_operation("c1", 1, 10, 20), _operation("c2", 2, 15, None)]
    history = History(operations, [Fault("kill", (3,), 12, 18)])
    svg = draw(history, span_of(operations), highlighted=operations[:1], text="a title\nof two lines")
    texts = _texts(svg)
    for expected in ("a title", "of two lines", "c1", "c2", "node 1", "node 2", "node 3", "kill 3"):
        assert expected in texts
    rectangles = [each.get("class") for each in ElementTree.fromstring(svg).iter(f"{_SVG}rect")]
    assert rectangles.count("bad") == 1
    assert rectangles.count("open") == 1


def test_operations_of_a_pipeline_lie_in_rows_of_their_own() -> None:
    """Bars of one client that overlap are told apart."""
    operations = [_operation("c1", 1, 10, 20), _operation("c1", 1, 10, 30), _operation("c1", 1, 40, 50)]
    root = ElementTree.fromstring(draw(History(operations), span_of(operations), highlighted=[], text=""))
    tops = [each.get("y") for each in root.iter(f"{_SVG}rect") if each.get("class") == "bar"]
    assert len(tops) == 3
    assert len(set(tops)) == 2


def test_drawing_is_well_formed_whatever_the_bytes() -> None:
    """Control characters can't stand in XML at all."""
    operation = _operation("c1", 1, 10, 10_000, b"<&\x00\x1b\xff'\"")
    svg = explain(History([operation]), [operation], key=b"k", text="<\x07")
    assert any("SET k" in text for text in _texts(svg))


def test_excerpt_is_what_happened_to_the_key_around_the_operations() -> None:
    """Other keys, and what was long over, are left out."""
    near, core = _operation("c1", 1, 100, 120), _operation("c2", 2, 110, 130)
    other_key = Operation("c3", 3, 1, "cluster", (b"GET", b"other"), 110, 120)
    history = History(
        [_operation("c1", 1, 1, 2), _operation("c1", 1, 3, None), near, core, other_key],
        [Fault("kill", (1,), 1, 2), Fault("cut off", (2,), 50, 115)],
    )
    found = excerpt(history, span_of([core], margin=0.3), key=b"k")
    assert found.operations == [near, core]
    assert found.faults == [history.faults[1]]

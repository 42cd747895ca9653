"""What the benchmark makes of what it measures."""

import asyncio
import struct
from pathlib import Path

import pytest

from benchmarks.bench import report
from benchmarks.bench.figures import Known, Role, Row, Section, Turn, in_turn
from benchmarks.bench.goals import GOALS, reached
from benchmarks.bench.groups.ingest import HEADLINE
from benchmarks.bench.instruments.messages import SHAPES, frames
from benchmarks.bench.instruments.sink import OK, Sink
from benchmarks.bench.instruments.wire import Confirms, WireError


def section_of(*rows: Row) -> Section:
    return Section(name="ingest", title="Ingest", rows=list(rows))


def row(name: str, role: Role, *samples: float, known: Known | None = None) -> Row:
    return Row(case=HEADLINE, name=name, role=role, samples=samples, known=known)


def test_programs_take_turns_and_every_other_round_goes_backwards() -> None:
    order: list[str] = []

    def turn(name: str) -> Turn:
        def run() -> float:
            order.append(name)
            return float(len(order))

        return Turn(name=name, role=Role.PEER, run=run)

    rows = in_turn("case", [turn("a"), turn("b")], rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [one.samples for one in rows] == [[1, 4, 5], [2, 3, 6]]


def test_ratios_are_the_medians_of_the_rounds() -> None:
    ours, peer = row("ours", Role.OURS, 90, 20, 5), row("peer", Role.PEER, 30, 10, 1)
    section = section_of(row("ceiling", Role.CEILING, 100, 40, 50), ours, peer)
    assert section.of_ceiling(ours) == 0.5
    assert section.times_peer(peer) == 3
    assert section.times_peer(ours) is None


def test_peer_far_below_its_own_range_voids_the_run() -> None:
    known = Known(least=1000, most=2000)
    assert section_of(row("peer", Role.PEER, 700, known=known)).counts
    void = section_of(row("peer", Role.PEER, 500, known=known))
    assert not void.counts
    assert "no figure of this run counts" in report.remarks(void)[0]


def test_group_that_could_not_be_measured_voids_the_run() -> None:
    assert not Section(name="ingest", title="Ingest", problems=["no wrk"]).counts
    assert Section(name="ingest", title="Ingest").counts


def test_goals_that_were_not_measured_are_left_out() -> None:
    section = section_of(row("ceiling", Role.CEILING, 100), row("ours", Role.OURS, 40))
    ((goal, value),) = reached([section])
    assert (goal, value) == (GOALS[0], 0.4)
    assert goal.judge(value) == "must"


def test_limits_are_reached_from_above() -> None:
    goal = next(goal for goal in GOALS if goal.is_limit)
    assert [goal.judge(value) for value in (goal.aim, goal.must, goal.must + 1)] == ["aim", "must", "missed"]


def test_tables_of_a_page_go_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write("new", page)
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="has no"):
        report.write("new", page)


def ack(tag: int, *, multiple: bool = False) -> memoryview:
    return memoryview(struct.pack(">HHQB", 60, 80, tag, multiple))


def test_confirms_count_each_publish_once_whatever_the_order() -> None:
    confirms = Confirms()
    for tag in (2, 4, 1):
        confirms.add(1, ack(tag))
    assert confirms.count == 3
    confirms.add(1, ack(5, multiple=True))
    assert confirms.count == 5
    confirms.add(1, ack(3, multiple=True))
    assert confirms.count == 5


def test_anything_but_an_ack_is_no_confirm() -> None:
    nack = memoryview(struct.pack(">HHQB", 60, 120, 1, 0))
    with pytest.raises(WireError):
        Confirms().add(1, nack)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_message_has_an_id_of_its_own_and_the_same_size(shape: str) -> None:
    message = frames(shape, b'{"id": 1}', queue="queue")
    first, second = message.numbered(1), message.numbered(2)
    assert first != second
    assert len(first) == len(second) == len(message.template)


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_target_counts_whole_requests_however_they_are_cut(piece_bytes: int) -> None:
    heads: list[bytes] = []

    def take(head: bytes) -> bytes:
        heads.append(head)
        return OK

    wire, sink = Wire(), Sink(take)
    sink.connection_made(wire)
    request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nIdempotency-Key: A\r\n\r\nhello"
    for start in range(0, len(request) * 3, piece_bytes):
        sink.data_received((request * 3)[start : start + piece_bytes])
    assert len(heads) == 3
    assert wire.written == OK * 3

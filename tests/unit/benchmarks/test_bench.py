"""The figures that the benchmark computes from its measurements."""

import asyncio
import ssl
import struct
import urllib.request
from pathlib import Path

import pytest

from benchmarks.bench import report, stage
from benchmarks.bench.contestants import go
from benchmarks.bench.contestants.names import GO, OURS
from benchmarks.bench.figures import Known, Role, Row, Sample, Section, Turn, in_turn, percentiles
from benchmarks.bench.goal import Goal, Judged, Verdict
from benchmarks.bench.goals import GOALS, judged
from benchmarks.bench.groups import soak, telemetry
from benchmarks.bench.groups.ingest import HEADLINE
from benchmarks.bench.instruments import certificate
from benchmarks.bench.instruments.messages import SHAPES, frames
from benchmarks.bench.instruments.sink import OK, Sink, read_count
from benchmarks.bench.instruments.wire import Confirms, WireError
from sandbox.ports import LOOPBACK, free_port


def section_of(*rows: Row) -> Section:
    return Section(name="ingest", title="Ingest", rows=list(rows))


def row(name: str, role: Role, *figures: float, known: Known | None = None, cpu_us: float | None = None) -> Row:
    samples = [Sample(figure, cpu_us=cpu_us) for figure in figures]
    return Row(case=HEADLINE, name=name, role=role, samples=samples, known=known)


def ceiling(*figures: float) -> Row:
    return row("ceiling", Role.CEILING, *figures)


def one_judged(measure: str, *sections: Section) -> Judged:
    return next(each for each in judged(sections) if measure in each.goal.measure)


def test_programs_take_turns_and_every_other_round_goes_backwards() -> None:
    order: list[str] = []

    def turn(name: str) -> Turn:
        def run() -> Sample:
            order.append(name)
            return Sample(len(order))

        return Turn(name=name, role=Role.PEER, run=run)

    rows = in_turn("case", [turn("a"), turn("b")], rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [one.figures for one in rows] == [[1, 4, 5], [2, 3, 6]]


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


def test_goals_of_groups_that_did_not_run_are_left_out() -> None:
    section = section_of(ceiling(100), row(OURS, Role.OURS, 40))
    assert {each.goal.group for each in judged([section])} == {"ingest"}


def test_goals_that_compare_with_go_are_not_judged_without_it() -> None:
    section = section_of(ceiling(100), row(OURS, Role.OURS, 90))
    verdicts = {each.goal.needs_go: each.verdict for each in judged([section])}
    assert verdicts == {True: Verdict.NO_GO, False: Verdict.UNKNOWN}


def test_group_that_failed_does_not_blame_a_missing_go() -> None:
    failed = Section(name="ingest", title="Ingest", problems=["no wrk"])
    assert {each.verdict for each in judged([failed])} == {Verdict.UNKNOWN}


def test_share_of_the_ceiling_must_come_close_to_the_share_of_go() -> None:
    go_row = row(GO, Role.PEER, 80)
    near = one_judged("answering 202", section_of(ceiling(100), row(OURS, Role.OURS, 73), go_row))
    assert (near.value, near.must, near.verdict) == (0.73, pytest.approx(0.72), Verdict.AIM)
    far = one_judged("answering 202", section_of(ceiling(100), row(OURS, Role.OURS, 70), go_row))
    assert far.verdict is Verdict.MISSED  # although it reaches the aim of 0.65


def test_processor_times_are_compared_in_the_same_round_and_smaller_is_better() -> None:
    section = section_of(row(OURS, Role.OURS, 1, cpu_us=60), row(GO, Role.PEER, 1, cpu_us=50))
    each = one_judged("CPU time for an event / Go's", section)
    assert (each.value, each.verdict) == (1.2, Verdict.MUST)


def test_unknown_processor_time_is_no_figure() -> None:
    section = section_of(row(OURS, Role.OURS, 1), row(GO, Role.PEER, 1, cpu_us=50))
    assert one_judged("CPU time for an event / Go's", section).value is None


def test_cost_of_telemetry_is_the_median_difference_of_the_pairs() -> None:
    pairs = {telemetry.WITHOUT: (50, 90, 60), telemetry.IN_PRODUCTION: (58, 95, 67)}
    rows = [
        Row(case=telemetry.INGEST, name=name, role=Role.OURS, samples=[Sample(1, cpu_us=us) for us in times_us])
        for name, times_us in pairs.items()
    ]
    each = one_judged("traces", Section(name="telemetry", title="Telemetry", rows=rows))
    assert (each.value, each.verdict) == (7, Verdict.MUST)


def test_soak_compares_the_last_quarter_with_the_second() -> None:
    memory_mb = {"collector": [70, 80, 80, 82], "processor": [60, 85, 85, 85]}
    section = Section(name="soak", title="Soak", rows=list(soak.rows(memory_mb, 1000)))
    growth = one_judged("last quarter / second quarter", section)
    assert (growth.value, growth.verdict) == (1.025, Verdict.MISSED)
    end = one_judged("end of the soak", section)
    assert (end.value, end.verdict) == (85, Verdict.MUST)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.measure)
def test_aim_of_a_goal_is_harder_than_its_must(goal: Goal) -> None:
    if not callable(goal.must):
        assert goal.is_reached(goal.aim, goal.must)


def test_tables_show_processor_time_and_memory_beside_the_rate() -> None:
    samples = [Sample(1000, cpu_us=71.5, resident_mb=80.0)]
    section = section_of(Row(case=HEADLINE, name=OURS, role=Role.OURS, samples=samples))
    on = report.machine(rabbitmq="4.3.0", go=None)
    page = report.markdown([section], on)
    assert "| 71.5 µs | 80 MB |" in page
    assert "RabbitMQ 4.3.0, Go none," in page
    assert '"cpu_us": [\n            71.5\n          ]' in report.as_json([section], on)


def test_percentiles_need_two_times() -> None:
    assert percentiles("answer", [0.001]) == {}
    assert percentiles("answer", [0.001, 0.003])["answer_p50_ms"] == pytest.approx(2)


def test_machine_without_go_leaves_the_peer_out_with_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(go, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    notices: list[str] = []
    assert go.ensure(notices.append) is None
    (notice,) = notices
    assert "no Go here" in notice


def test_failed_build_leaves_the_peer_out_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "go"
    program.write_text("#!/bin/sh\necho one >&2\necho 'dial tcp: no route to host' >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(go, "BUILT", tmp_path)
    monkeypatch.setattr(go, "PAUSE_S", 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    notices: list[str] = []
    assert go.ensure(notices.append) is None
    assert notices == ["The peer in Go is left out: dial tcp: no route to host"]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    return page


def machine_with(rabbitmq: str) -> report.Machine:
    return report.machine(rabbitmq=rabbitmq, go=None)


def test_tables_of_a_page_go_between_its_markers_and_nowhere_else(page: Path) -> None:
    section = section_of(ceiling(100), row(OURS, Role.OURS, 40))
    report.write([section], machine_with("4.3.0"), page)
    tables = report.markdown([section], machine_with("4.3.0"))
    assert page.read_text() == f"before\n{report.BEGIN}\n\n{tables}\n\n{report.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="has no"):
        report.write([section], machine_with("4.3.0"), page)


def test_report_of_some_groups_keeps_the_tables_of_the_others(page: Path) -> None:
    ingest = section_of(ceiling(100), row(OURS, Role.OURS, 40))
    spool = Section(name="spool", title="Spool", rows=[row("into it", Role.OURS, 7)])
    report.write([ingest, spool], machine_with("4.3.0"), page)
    whole = page.read_text()
    report.write([spool], machine_with("4.3.1"), page)
    kept, marker, written = page.read_text().partition("<!-- group: spool -->")
    assert kept == whole.partition(marker)[0]
    assert "RabbitMQ 4.3.1" in written
    better = section_of(ceiling(100), row(OURS, Role.OURS, 60))
    report.write([better], machine_with("4.3.2"), page)
    goal = one_judged("ingest: rate / aiohttp", better).goal.measure
    assert next(line for line in page.read_text().splitlines() if goal in line).endswith("| 0.6 | no Go here |")
    assert page.read_text().endswith(f"{marker}{written}")
    report.write([better, spool], machine_with("4.3.2"), page)
    assert page.read_text().count("RabbitMQ 4.3.2") == 1


def ack(tag: int, *, multiple: bool = False) -> memoryview:
    return memoryview(struct.pack(">HHQB", 60, 80, tag, multiple))


def test_confirms_count_each_publish_once_whatever_the_order() -> None:
    confirms = Confirms()
    for tag in (2, 4, 1):
        assert confirms.add(1, ack(tag)) == [tag]
    assert confirms.count == 3
    assert confirms.add(1, ack(5, multiple=True)) == [3, 5]
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


def test_target_counts_requests_with_and_without_tls_together() -> None:
    tls_port = free_port()
    with certificate.made() as pem, stage.sink("--tls-port", str(tls_port), "--pem", str(pem)) as url:
        trust = ssl.create_default_context(cafile=pem)
        for each in (url, f"https://{LOOPBACK}:{tls_port}"):
            urllib.request.urlopen(each, data=b"{}", context=trust, timeout=10).close()
        assert read_count(url).requests == 2

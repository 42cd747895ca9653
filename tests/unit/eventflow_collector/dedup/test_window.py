"""The dedup window: which ids it contains, and for how long."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventflow_collector.dedup.window import Window, checksum_of, digest_of

LENGTH_S = 10.0
MAX_IDS = 4

DIGESTS = [digest_of("/s", str(number)) for number in range(8)]
steps = st.lists(
    st.tuples(st.sampled_from(DIGESTS), st.integers(0, 2**32 - 1))  # add
    | st.sampled_from([0.001, 3.0, 9.999, 10.0, 25.0])  # let time pass
    | st.sampled_from(["drop_expired", "clear"]),
    max_size=60,
)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Model:
    """The same as a plain list of digest, checksum and time, the oldest first."""

    entries: list[tuple[bytes, int, float]] = field(default_factory=list)
    evicted: int = 0

    def valid(self, now_s: float) -> dict[bytes, int]:
        return {digest: checksum for digest, checksum, added_s in self.entries if round(now_s - added_s, 6) < LENGTH_S}

    def add(self, digest: bytes, checksum: int, now_s: float) -> None:
        valid = self.valid(now_s)
        if digest in valid:
            return
        self.entries = [entry for entry in self.entries if entry[0] in valid]
        if len(self.entries) == MAX_IDS:
            del self.entries[0]
            self.evicted += 1
        self.entries.append((digest, checksum, now_s))


@given(steps)
def test_an_id_is_in_the_window_for_its_time_unless_newer_ones_need_its_place(sequence: list) -> None:
    clock, model, evictions = Clock(), Model(), []
    window = Window(length_s=LENGTH_S, max_ids=MAX_IDS, clock=clock, on_evicted=lambda: evictions.append(1))
    for step in sequence:
        match step:
            case float():
                clock.now_s = round(clock.now_s + step, 6)
            case "drop_expired":
                window.drop_expired()
                assert len(window) == len(model.valid(clock.now_s))
            case "clear":
                window.clear()
                model.entries.clear()
            case digest, checksum:
                window.add(digest, checksum)
                model.add(digest, checksum, clock.now_s)
        valid = model.valid(clock.now_s)
        assert {digest: window.checksum(digest) for digest in DIGESTS} == {
            digest: valid.get(digest) for digest in DIGESTS
        }
        assert len(valid) <= len(window) <= MAX_IDS
        assert len(evictions) == model.evicted


def test_a_repeat_does_not_extend_the_time() -> None:
    clock = Clock()
    window = Window(length_s=LENGTH_S, max_ids=MAX_IDS, clock=clock, on_evicted=lambda: None)
    window.add(DIGESTS[0], 1)
    clock.now_s += 9
    window.add(DIGESTS[0], 2)
    assert window.checksum(DIGESTS[0]) == 1
    clock.now_s += 1
    assert window.checksum(DIGESTS[0]) is None


@given(st.sets(st.tuples(st.text("/a1 ü", max_size=5), st.text("/a1 ü", max_size=5)), min_size=2, max_size=20))
def test_different_pairs_of_source_and_id_have_different_digests_of_one_size(pairs: set[tuple[str, str]]) -> None:
    digests = {digest_of(source, event_id) for source, event_id in pairs}
    assert len(digests) == len(pairs)
    assert {len(digest) for digest in digests} == {16}


def test_source_and_id_cannot_exchange_characters() -> None:
    assert digest_of("a", "bc") != digest_of("ab", "c")
    assert digest_of("1 a", "") != digest_of("", "1 a")


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=2, max_size=5, unique=True))
def test_checksums_show_that_bodies_differ(bodies: list[bytes]) -> None:
    for one, other in pairwise(bodies):
        assert 0 <= checksum_of(one) < 2**32
        assert checksum_of(one) != checksum_of(other)

"""Cuts in the network of nodes, by rules of iptables."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from tests.kubernetes.surroundings import Node, Surroundings

Rule = tuple[str, ...]


def isolation() -> Iterator[Rule]:
    """Yield the rules that cut a node and its pods off from everything."""
    yield ("INPUT", "!", "-i", "lo")
    yield ("OUTPUT", "!", "-o", "lo")
    yield ("FORWARD",)


def deafness(peers: Iterable[Node]) -> Iterator[Rule]:
    """Yield the rules by which a node and its pods receive nothing from other nodes and their pods."""
    for peer in peers:
        for source in (peer.address, peer.pod_network):
            yield ("INPUT", "-s", source)
            yield ("FORWARD", "-s", source)


def muteness(peers: Iterable[Node]) -> Iterator[Rule]:
    """Yield the rules by which a node and its pods send nothing to other nodes and their pods."""
    for peer in peers:
        for destination in (peer.address, peer.pod_network):
            yield ("OUTPUT", "-d", destination)
            yield ("FORWARD", "-d", destination)


@asynccontextmanager
async def cut(surroundings: Surroundings, node: Node, rules: Iterable[Rule]) -> AsyncIterator[None]:
    """Drop the packets that match the rules at a node, until the end of the context."""
    added: list[Rule] = []
    try:
        for rule in rules:
            added.append(rule)
            await surroundings.on_node(node, *_command("-I", rule))
        yield
    finally:
        await asyncio.to_thread(_restore, surroundings, node, added)


def _restore(surroundings: Surroundings, node: Node, rules: Sequence[Rule]) -> None:
    for rule in rules:
        surroundings.on_node_now(node, *_command("-D", rule))


def _command(action: str, rule: Rule) -> list[str]:
    chain, *matches = rule
    return ["iptables", "-w", "5", action, chain, *matches, "-j", "DROP"]

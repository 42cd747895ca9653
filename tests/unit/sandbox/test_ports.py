"""Ports that commands and tests pick side by side."""

import subprocess
import sys

from sandbox.ports import free_port, is_free

PICKERS, EACH = 4, 50
PICK = f"from sandbox.ports import free_port\nfor _ in range({EACH}): print(free_port())"


def test_commands_that_pick_at_the_same_time_pick_different_ports() -> None:
    """They pick long before they listen, so that a port is free is not enough."""
    pickers = [subprocess.Popen([sys.executable, "-c", PICK], stdout=subprocess.PIPE) for _ in range(PICKERS)]
    ports = [int(line) for picker in pickers for line in picker.communicate()[0].split()]
    assert len(set(ports)) == len(ports) == PICKERS * EACH


def test_a_picked_port_is_free() -> None:
    assert is_free(free_port())

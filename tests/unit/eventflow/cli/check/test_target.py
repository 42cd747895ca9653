"""Reasons why a target cannot be reached."""

import os
import socket
import ssl

from eventflow.cli.check.target import reason_of


def test_why_a_target_is_not_reached_is_one_line() -> None:
    assert reason_of(ConnectionRefusedError(111, "Connect call failed ('::1', 9)")) == os.strerror(111)
    assert reason_of(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError("Multiple exceptions")) == "Multiple exceptions"
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate"
    assert "self-signed" in reason_of(untrusted)

"""Scoring uses no network: compute nodes have none."""

import socket

import polars as pl
import pytest

from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.errors import ModelError
from tests.workflow.demo import NO_NETWORK, REFERENCE, few_records, run

CONNECT = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=5)"


@pytest.fixture
def no_sockets(monkeypatch):
    """Whatever wants to reach something fails, and is counted."""
    asked = []

    def refuse(*arguments, **more):
        asked.append(arguments)
        raise OSError("a network was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


def test_score_asks_for_no_network(no_sockets, tmp_path, monkeypatch):
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    few_records(tmp_path / "in.vcf", 3)
    output = tmp_path / "out.parquet"
    given = {"options": Options(window_tokens=16, max_allele_bases=20, device="cpu"), "command": ""}
    score_file(tmp_path / "in.vcf", REFERENCE, "demo-6mer", output, **given)
    scores = pl.read_parquet(output)
    assert scores.filter(pl.col("status") == "ok").height > 3
    with pytest.raises(ModelError, match="type: ntvep model fetch some/model"):
        score_file(tmp_path / "in.vcf", REFERENCE, "some/model", output, force=True, **given)
    assert no_sockets == []


@pytest.mark.skipif(not NO_NETWORK, reason="no namespace without a network can be made here")
def test_the_tests_of_the_workflow_have_no_network(tmp_path):
    """Every workflow of these tests, and every command in it, runs like this."""
    done = run("python", "-c", CONNECT, folder=tmp_path, check=False)
    assert "Network is unreachable" in done.stderr

"""An acknowledged event survives the death of the process: real processes, killed while they write."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from visiondrift.log import WindowQuery
from visiondrift.log.sqlite import SqliteLog

WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from visiondrift.log.sqlite import SqliteLog
from visiondrift.prediction import PredictionEvent

path, run, prunes = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "prunes"
log = SqliteLog(path)
vector = np.ones(512, np.float32)
print("open", flush=True)
for batch in range(100_000):
    ids = [f"{run}-{batch}-{row}" for row in range(1 + batch % 20)]
    log.append(
        [
            PredictionEvent(id=name, time=1e9 + batch, model="m", version="1", slices=(("camera", f"c{batch % 3}"),),
                            embedder="clip", embedding=vector)
            for name in ids
        ],
        [],
        now=0.0,
    )
    print(" ".join(ids), flush=True)
    if prunes and batch % 10 == 9:
        # Old rows of no interest come and go: the kill also hits deletions and the shrinking of the file.
        old = [
            PredictionEvent(id=f"{run}-old-{batch}-{row}", time=float(row), model="m", version="1", embedder="clip",
                            embedding=vector)
            for row in range(200)
        ]
        log.append(old, [], now=0.0)
        log.prune(older_than=1e6, max_bytes=10**12)
"""


def acknowledged_before_kill(path: Path, run: int, *, mode: str, after: float) -> set[str]:
    """Start a writer, kill it ``after`` seconds of writing more, and return the ids that it had printed."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(run), mode], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    first = "".join(writer.stdout.readline() for _ in range(2))
    time.sleep(after)
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    whole_lines = (first + rest).split("\n")[:-1]
    return {name for line in whole_lines for name in line.split()}


@pytest.mark.parametrize("mode", ["appends", "prunes"])
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, mode: str) -> None:
    """Four processes in turn write to one file and are killed at random moments; nothing acknowledged is missing,
    each batch is there whole or not at all, and the file is sound."""
    path = tmp_path / "log.sqlite"
    chance = random.Random(20_260_101)
    acknowledged: set[str] = set()
    for run in range(4):
        acknowledged |= acknowledged_before_kill(path, run, mode=mode, after=chance.uniform(0.02, 0.4))
        with closing(SqliteLog(path)) as log:
            found = log.window(
                WindowQuery(
                    model="m",
                    version="1",
                    embedder="clip",
                    since=1e8,
                    until=float("inf"),
                    classes=(),
                    dimension=512,
                    limit=1_000_000,
                )
            )
            stored = {str(name) for name in found.sample.ids}
            assert acknowledged <= stored
            assert bool(found.sample.has_embedding.all())
            for name in stored - acknowledged:  # written, but killed before it could say so
                of_run, batch, _ = name.split("-")
                assert {f"{of_run}-{batch}-{row}" for row in range(1 + int(batch) % 20)} <= stored
    assert len(acknowledged) > 10
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        counted = raw.execute("SELECT sum(events) FROM streams").fetchone()[0]
        assert counted == raw.execute("SELECT count(*) FROM predictions").fetchone()[0]
        assert counted == raw.execute("SELECT count(*) FROM ids").fetchone()[0]

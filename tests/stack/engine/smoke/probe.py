"""Runs inside the smoke stack's client container: every claim the engine makes about isolation and naming."""

import errno
import os
import urllib.request
from pathlib import Path


def refuses_writes(path: str) -> bool:
    """Tell whether writing `path` fails because its file system is read-only."""
    try:
        Path(path).write_text("x", encoding="utf-8")
    except OSError as error:
        return error.errno in (errno.EROFS, errno.EACCES)
    return False


def status() -> dict[str, str]:
    """Read this process's own status fields from the kernel."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def memory_limit() -> str:
    """Read the container's memory limit in bytes, wherever this kernel's cgroup version keeps it."""
    places = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return next(place.read_text(encoding="utf-8").strip() for place in places if place.exists())


for url in ("http://server:8000/", "http://prometheus:9090/-/ready", "http://alertmanager:9093/-/ready"):
    assert urllib.request.urlopen(url, timeout=5).status == 200, f"{url}: no service-name DNS or bridge network"
assert os.getuid() == 65534, "user: is not honoured"
assert os.statvfs("/").f_flag & os.ST_RDONLY, "read_only: is not honoured"
assert refuses_writes("/var/tmp/x"), "read_only: is not honoured"
Path("/tmp/x").write_text("tmpfs", encoding="utf-8")
assert int(status()["CapBnd"], 16) == 0, "cap_drop: is not honoured"
assert status()["NoNewPrivs"] == "1", "no-new-privileges is not honoured"
assert memory_limit() == str(256 * 1024 * 1024), "mem_limit: is not honoured"
print("probe: all held")

"""Runs the cases against Bridge, the raw floor or a peer, one core for it and one for everything else.

    python -m bench.run [bridge floor direct] [--only CASE,…] [--seconds N] [--json FILE]

Every answer is checked; an error in a case is printed beside its figures. CPU is that of the system under test alone,
from /proc. A port that is taken stops the run: a server left over from another one would be measured instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import PEERS
from bench.servers import HERE, System, bridge, direct, floor, free_port, process

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Case:
    """One line of the results. The script says what the fake upstream does (bench/upstream.py)."""

    name: str
    script: str
    concurrency: int
    stream: bool = False
    rate: float = 0.0
    body: int = 0
    seconds: float = 0.0  # 0: as the command line says
    ramp: float = 0.0  # before them, for all to begin


CASES = (
    Case("whole-1", "bench-32-0-0", 1),
    Case("whole-32", "bench-32-0-0", 32),
    Case("whole-256", "bench-32-0-0", 256),
    Case("latency-300", "bench-32-100-0", 64, rate=300),
    Case("burst-1", "bench-32-0-0", 1, stream=True),
    Case("burst-32", "bench-32-0-0", 32, stream=True),
    Case("burst-long-32", "bench-512-0-0", 32, stream=True),
    Case("paced-100", "bench-100-0-20", 100, stream=True, seconds=15, ramp=5),
    Case("paced-500", "bench-100-0-20", 500, stream=True, seconds=15, ramp=5),
    Case("paced-1000", "bench-100-0-20", 1000, stream=True, seconds=15, ramp=5),
    Case("paced-1500", "bench-100-0-20", 1500, stream=True, seconds=15, ramp=5),
    Case("body-1mb", "bench-32-0-0", 1, body=1_000_000),
)


def group(pid: int) -> Iterator[Path]:
    """The processes of this session."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3]) == pid:
                yield entry
        except (OSError, ValueError):
            continue


def spent(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of the whole group."""
    seconds, resident = 0.0, 0
    for entry in group(pid):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
            resident += int((entry / "statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return seconds, resident


def measure(system: System, case: Case, seconds: float) -> dict[str, Any]:
    """One case: a second to warm up, then the run."""
    if not case.seconds:
        load(system, case, 1)
    _, before = spent(system.pid)
    result = load(system, case, case.seconds or seconds)
    _, resident = spent(system.pid)
    result["cpu_share"] = round(result["cpu"] / result["seconds"], 3)
    result["cpu_us_per_request"] = round(result["cpu"] / max(result["requests"], 1) * 1e6, 1)
    result["rss_mb"] = round(resident / 1e6, 1)
    result["rss_grown_kb"] = round((resident - before) / 1e3)
    return result


def load(system: System, case: Case, duration: float) -> dict[str, Any]:
    """What the load saw, and what CPU the system spent from when all were at it until there was enough."""
    command = ["taskset", "--cpu-list", "0", sys.executable, "-m", "bench.load"]
    command += [system.url, system.key, system.model, case.script, str(case.concurrency), str(duration)]
    command += ["--rate", str(case.rate), "--body", str(case.body), "--ramp", str(case.ramp)]
    command += ["--stream"] if case.stream else []
    command += [f"--header={header}" for header in system.headers]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        used = []
        for _ in ("at it", "enough"):
            process.stdout.readline()
            used.append(spent(system.pid)[0])
        told = process.stdout.read()
    if process.returncode:
        sys.exit(f"the load ended with {process.returncode}")
    return {**json.loads(told), "cpu": used[1] - used[0]}


SYSTEMS = {"direct": direct, "floor": floor, "bridge": bridge, **PEERS}


def line(system: str, case: Case, result: dict[str, Any]) -> str:
    first, lag, total = result["first_token_ms"], result["lag_ms"], result["total_ms"]
    told = [
        f"{result['requests_per_second']:>9.1f} req/s",
        f"{result['chunks_per_second']:>8} chunks/s" if case.stream else " " * 17,
        f"p50 {total.get('p50', 0):>8.2f} p99 {total.get('p99', 0):>8.2f} ms",
        f"first {first['p50']:.2f}/{first['p99']:.2f}" if first else "",
        f"lag {lag['p50']:.1f}/{lag['p99']:.1f}" if lag else "",
        f"{result['cpu_us_per_request']:.0f} µs/req, {result['cpu_share']:.0%} of the core, {result['rss_mb']:.0f} MB",
        f"ERRORS {result['errors']}" if result["errors"] else "",
    ]
    return f"{system:8} {case.name:14} " + "  ".join(part for part in told if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("systems", nargs="*", default=["floor", "bridge"])
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = set(filter(None, options.only.split(",")))
    cases = [case for case in CASES if not names or case.name in names]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    results: dict[str, dict[str, Any]] = {}
    port = free_port()
    try:
        command = [sys.executable, "-m", "bench.upstream", str(port)]
        with process(command, 0, dict(os.environ), port, folder / "upstream.log"):
            for name in options.systems:
                with SYSTEMS[name](f"http://127.0.0.1:{port}", folder) as system:
                    for case in cases:
                        result = measure(system, case, options.seconds)
                        results.setdefault(name, {})[case.name] = result
                        print(line(name, case, result), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

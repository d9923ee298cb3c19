#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs fuzz targets one after the other. What makes one fail is kept in the folder `found` beside them.

A run of a few seconds starts from the seeds alone with a fixed random seed, with the targets of build/fuzz-check, which
are not optimized and compiled in half the time; a long one with those of build/fuzz, also from what earlier long ones
found worth keeping (build/fuzz/corpus).
"""

import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, shared  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = {"rules": ["deploy/rules", "tests/rules/bad"], "config": ["tests/config"]}
SHORT_S = 15
SHORT_RUNS = 1500
TARGETS = sorted(p.name.removesuffix("_fuzz.cpp") for p in HERE.glob("*_fuzz.cpp"))


def run(target, seconds, folder):
    preset = "fuzz" if seconds > SHORT_S else "fuzz-check"
    build = TOP / "build" / preset
    program = build / "targets" / f"{target}_fuzz"
    if not program.exists():
        sys.exit(f"{program} is not there; ./dev build {preset} makes it")
    found = build / "found"
    found.mkdir(exist_ok=True)
    seeds = [TOP / s for s in SEEDS.get(target, [])] + [p for p in [HERE / "seeds" / target] if p.is_dir()]
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1", UBSAN_OPTIONS="print_stacktrace=1")
    corpus = pathlib.Path(folder, target)
    if seconds > SHORT_S:
        corpus = build / "corpus" / target
        if target == "collector" and (trees := shared("corpus/node_exporter")):
            for name in ("proc", "sys", "udev"):
                with tarfile.open(trees / f"{name}.tar") as tar:
                    tar.extractall(f"{folder}/trees")
            environment["VITALD_FUZZ_CORPUS"] = f"{folder}/trees"
    corpus.mkdir(parents=True, exist_ok=True)
    words = HERE / f"{target}.dict"
    # A short run is the same every time: it must not find something new in a change that has nothing to do with it.
    # Nor does it weigh what each input reached, which took four fifths of the time for the largest target.
    bound = [f"-max_total_time={seconds}"] if seconds > SHORT_S else ["-seed=1", f"-runs={SHORT_RUNS}", "-entropic=0"]
    command = [program, *bound, "-timeout=10", "-rss_limit_mb=3000", "-print_final_stats=1", "-verbosity=0",
               f"-artifact_prefix={found}/{target}-",
               *([f"-dict={words}"] if words.exists() else []), corpus, *seeds]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, errors="replace")
    inputs = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{target:12} {inputs:>9} inputs: {'fine' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode != 0:
        print(done.stderr[-8000:])
    return done.returncode == 0


wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
if wanted != "all" and wanted not in TARGETS:
    sys.exit(f"no fuzz target '{wanted}'; there are: {' '.join(TARGETS)}")
with tempfile.TemporaryDirectory(prefix="vitald-fuzz-") as scratch:
    fine = [run(t, seconds, scratch) for t in (TARGETS if wanted == "all" else [wanted])]
sys.exit(0 if all(fine) else 1)

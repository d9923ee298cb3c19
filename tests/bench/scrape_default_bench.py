#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The scrape bench with what vitald and node_exporter each have on by themselves, and the goals for that."""

import os
import pathlib
import sys

bench = pathlib.Path(__file__).resolve().with_name("scrape_bench.py")
os.execv(sys.executable, [sys.executable, str(bench), "--collectors", "default", *sys.argv[1:]])

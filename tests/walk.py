#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""walk.py PAGE FOLDER NAME...: writes the C++ examples of a page of docs/, in their order, as FOLDER/NAME, so that the
build compiles what newcomers are told to paste."""

import pathlib
import re
import sys
import textwrap

page, folder, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
examples = re.findall(r"^ *```cpp\n(.*?)^ *```$", page.read_text(), re.M | re.S)
if len(examples) != len(names):
    sys.exit(f"{page}: {len(examples)} examples, expected {len(names)}: {', '.join(names)}")
folder.mkdir(parents=True, exist_ok=True)
for name, example in zip(names, examples):
    (folder / name).write_text(textwrap.dedent(example))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes the source lines out of a BPF object's .BTF.ext: drop_line_info.py OBJCOPY OBJECT.

They are half of the object, and libbpf keeps them in memory twice while a probe is loaded; only a verifier's log and
bpftool's listings would show them. The functions and the relocations to the running kernel's types stay. Layout of
.BTF.ext: Documentation/bpf/btf.rst, and struct btf_ext_header of libbpf.
"""

import pathlib
import struct
import subprocess
import sys
import tempfile

HEADER = struct.Struct("<HBBIIIIIII")  # magic, version, flags, hdr_len, {offset, length} of func, line, core_relo
MAGIC = 0xEB9F


def without_lines(section: bytes) -> bytes:
    magic, version, flags, size, func_at, func_len, _, _, relo_at, relo_len = HEADER.unpack_from(section)
    if magic != MAGIC or version != 1 or size != HEADER.size:
        sys.exit(f"drop_line_info: .BTF.ext has magic {magic:#x}, version {version}, a header of {size} bytes")
    func = section[size + func_at : size + func_at + func_len]
    relo = section[size + relo_at : size + relo_at + relo_len]
    return HEADER.pack(magic, version, flags, size, 0, len(func), len(func), 0, len(func), len(relo)) + func + relo


def main() -> None:
    objcopy, target = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        section = pathlib.Path(folder) / "section"
        subprocess.run([objcopy, f"--dump-section=.BTF.ext={section}", target, "/dev/null"], check=True)
        section.write_bytes(without_lines(section.read_bytes()))
        # Its relocations are for a linker of BPF objects.
        subprocess.run([objcopy, "--remove-section=.rel.BTF.ext", target], check=True)
        subprocess.run([objcopy, f"--update-section=.BTF.ext={section}", target], check=True)


if __name__ == "__main__":
    main()

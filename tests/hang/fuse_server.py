# SPDX-License-Identifier: Apache-2.0
"""A file system of one empty folder, over the kernel's own protocol (include/uapi/linux/fuse.h): something
that can be frozen with SIGSTOP. Run as: fuse_server.py FOLDER."""

import os
import stat
import struct
import subprocess
import sys

INIT, GETATTR, STATFS, DESTROY = 26, 3, 17, 38
ENOSYS = 38


def answer(opcode):
    if opcode == INIT:  # fuse_init_out: protocol 7.31, no features
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0)
    if opcode == GETATTR:  # fuse_attr_out: valid for 0 s, so that each stat asks
        attr = struct.pack("<6Q3I7I", 1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0)
        return struct.pack("<QII", 0, 0, 0) + attr
    if opcode == STATFS:  # fuse_statfs_out: 1000 blocks of 4096 bytes, half of them free
        return struct.pack("<5Q4I24x", 1000, 500, 500, 10, 5, 4096, 255, 4096, 0)
    return None


def main(folder):
    device = os.open("/dev/fuse", os.O_RDWR)
    subprocess.run(["mount", "-i", "-t", "fuse.frozen", "-o", f"fd={device},rootmode=40000,user_id=0,group_id=0",
                    "frozen", folder], pass_fds=[device], check=True)
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 17)
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode == DESTROY:
            return
        body = answer(opcode)
        error = 0 if body is not None else -ENOSYS
        os.write(device, struct.pack("<IiQ", 16 + len(body or b""), error, unique) + (body or b""))


main(sys.argv[1])

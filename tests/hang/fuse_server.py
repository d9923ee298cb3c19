# SPDX-License-Identifier: Apache-2.0
"""A file system over the kernel's own protocol (include/uapi/linux/fuse.h): something that SIGUSR1 freezes
and SIGUSR2 thaws, between two requests: whoever waits for a request that was read already can't even be killed, and a
server stopped by SIGSTOP may be anywhere. Run as: fuse_server.py FOLDER [NAME TEXT]. It is one folder, empty or with
one file in it; nothing of it is cached, so each stat, each read asks."""

import os
import select
import signal
import stat
import struct
import subprocess
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 36, 38, 42
ENOENT, ENOSYS = 2, 38
FOLDER, FILE = 1, 2  # nodes
DIRECT_IO = 1


def attributes(node, size):
    mode = stat.S_IFDIR | 0o755 if node == FOLDER else stat.S_IFREG | 0o444
    return struct.pack("<6Q3I7I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 2, 0, 0, 0, 4096, 0)


def answer(opcode, node, body, name, text):
    """The bytes of an answer, or a negative errno."""
    if opcode == INIT:  # fuse_init_out: protocol 7.31, no features
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 1, 0, 0)
    if opcode == LOOKUP:  # fuse_entry_out: valid for 0 s
        if not name or body.rstrip(b"\0") != name:
            return -ENOENT
        return struct.pack("<4QII", FILE, 0, 0, 0, 0, 0) + attributes(FILE, len(text))
    if opcode == GETATTR:  # fuse_attr_out: valid for 0 s, so that each stat asks
        return struct.pack("<QII", 0, 0, 0) + attributes(node, 0 if node == FOLDER else len(text))
    if opcode in (OPEN, OPENDIR):  # fuse_open_out
        return struct.pack("<QII", 0, DIRECT_IO if opcode == OPEN else 0, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        return text[offset:offset + size]
    if opcode in (READDIR, RELEASEDIR, RELEASE):
        return b""
    if opcode == STATFS:  # fuse_statfs_out: 1000 blocks of 4096 bytes, half of them free
        return struct.pack("<5Q4I24x", 1000, 500, 500, 10, 5, 4096, 255, 4096, 0)
    return -ENOSYS  # after this to FLUSH the kernel asks for none: it waits for them even where a process is killed


def main(folder, name="", text=""):
    device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    subprocess.run(["mount", "-i", "-t", "fuse.frozen", "-o", f"fd={device},rootmode=40000,user_id=0,group_id=0",
                    "frozen", folder], pass_fds=[device], check=True)
    signals, woken = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)
    print("mounted", flush=True)
    frozen = False
    while True:
        ready = select.select([signals] if frozen else [signals, device], [], [])[0]
        if signals in ready:
            frozen = os.read(signals, 100)[-1] == signal.SIGUSR1
            continue
        try:
            request = os.read(device, 1 << 17)
        except BlockingIOError:
            continue  # whoever asked was killed
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode == DESTROY:
            return
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):  # want no answer
            continue
        got = answer(opcode, node, request[40:], name.encode(), text.encode())
        error, body = (got, b"") if isinstance(got, int) else (0, got)
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
        except FileNotFoundError:
            pass  # whoever asked was killed


main(*sys.argv[1:])

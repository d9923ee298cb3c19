#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The man page and the shells' completions, from what the binary itself says: generate.py man|bash|zsh VITALD"""

import datetime
import os
import re
import subprocess
import sys

kind, program = sys.argv[1:]
text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True,
                         stdin=subprocess.DEVNULL).stdout.split()[-1]

# "  --[no-]web.systemd-socket     Use ...", or the help alone on the next line
FLAG = re.compile(r'^  --(\[no-\])?([\w.-]+)(?:=(.*?))?( \.\.\.)?(?: +(.*))?$')
flags = []  # (name, is boolean, default, is repeatable, help)
for line in text.split("Flags:\n", 1)[1].splitlines():
    found = FLAG.match(line)
    if found:
        no, name, default, repeatable, words = found.groups()
        flags.append([name, bool(no), (default or "").strip('"'), bool(repeatable), words or ""])
    elif flags and line.startswith("     "):
        flags[-1][4] = (flags[-1][4] + " " + line.strip()).strip()
lines = sum(line.startswith("  --") for line in text.splitlines())
assert len(flags) == lines > 50, f"the help's form has changed: {lines} lines, {len(flags)} flags understood"


# "       vitald doctor [<flags>]          what ...", and "  0  all is well ..."
COMMANDS = [(line[7:39].strip(), line[40:].strip()) for line in text.split("\n\n", 1)[0].splitlines()]
STATUS = re.compile(r"^  (\d)  (.*)$", re.M)
assert len(COMMANDS) > 8 and all(c.startswith("vitald") and words for c, words in COMMANDS), COMMANDS


def commands():
    return [f".TP\n.B {roff(command)}\n{roff(words)}" for command, words in COMMANDS]


def statuses():
    found = STATUS.findall(text.split("Exit status:\n", 1)[1].split("Flags:", 1)[0])
    assert [number for number, _ in found] == ["0", "1"], found
    return [f".TP\n.B {number}\n{roff(words)}" for number, words in found]


def takes_path(name):
    return name.endswith((".file", "directory", "path.procfs", "path.sysfs", "path.rootfs", "udev.data"))


def roff(words):
    words = words.replace("\\", "\\e").replace("-", "\\-").replace("|", "|\\:").replace("/", "/\\:")
    return "\\&" + words if words.startswith((".", "'")) else words


def man():
    # A build of the same source has the same bytes.
    day = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    rows = []
    for name, boolean, default, repeatable, words in flags:
        rows.append(".TP\n.BR \\-\\-" + ("[no\\-]" if boolean else "") + roff(name) +
                    ("" if boolean else " =\\fIVALUE\\fP"))
        more = (" Repeatable." if repeatable and "epeatable" not in words else "")
        shown = "" if boolean or default in ("", "...") else f" Default: {default}"
        rows.append(roff(words + more + shown))
    return f""".\\" Made from vitald --help. SPDX-License-Identifier: Apache-2.0
.TH VITALD 8 {day:%Y-%m-%d} "vitald {version}" "System administration"
.ad l
.ds AD l
.nh
.SH NAME
vitald \\- vital signs of this host: metrics, eBPF probes, alerts
.SH SYNOPSIS
.B vitald
.RI [ FLAG ...]
.br
.B vitald
.IR COMMAND " [" FLAG ...]
.SH DESCRIPTION
.B vitald
answers Prometheus on port 9100 with the metrics of node_exporter under their own names, with latencies from eBPF and
with the guests of a hypervisor, and judges alert rules on the host itself.
.PP
Flags can be given in the configuration file as well, and flags win over it.
.B SIGHUP
reads file and rules again; what is wrong leaves in force what was.
.B SIGTERM
ends it.
.SH COMMANDS
{chr(10).join(commands())}
.SH OPTIONS
{chr(10).join(rows)}
.SH FILES
.TP
.I /etc/vitald/vitald.yaml
The configuration of the service.
.TP
.I /etc/vitald/rules/*.yaml
Alert rules, in Prometheus' format.
.TP
.I /etc/default/vitald
Flags of the service, in ARGS.
.TP
.I /var/lib/vitald
What must survive a restart.
.SH EXIT STATUS
{chr(10).join(statuses())}
.SH SEE ALSO
.BR systemctl (1),
.B /usr/share/doc/vitald
"""


def bash():
    words = []
    for name, boolean, *_ in flags:
        words += [f"--{name}", f"--no-{name}"] if boolean else [f"--{name}="]
    paths = "|".join(f"--{f[0]}" for f in flags if not f[1] and takes_path(f[0]))
    return f"""# bash completion for vitald. Made from vitald --help.
_vitald() {{
  local cur prev
  cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  # "=" is a word of its own to readline.
  if [[ $cur == = ]]; then cur= ; elif [[ $prev == = ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  case $prev in
    {paths}) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
  esac
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '{" ".join(words)}' -- "$cur")
    [[ ${{#COMPREPLY[@]}} == 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
  elif ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W doctor -- "$cur")
  fi
}}
complete -F _vitald vitald
"""


def zsh():
    def quoted(words):
        for a, b in (("'", "'\\''"), ("[", "\\["), ("]", "\\]"), (":", "\\:")):
            words = words.replace(a, b)
        return words

    rows = []
    for name, boolean, _, repeatable, words in flags:
        star = "*" if repeatable else ""
        if boolean:
            rows += [f"'--{name}[{quoted(words)}]'", f"'--no-{name}[not\\: {quoted(words)}]'"]
        else:
            rows.append(f"'{star}--{name}=[{quoted(words)}]:value:{'_files' if takes_path(name) else ''}'")
    return "#compdef vitald\n# Made from vitald --help.\n_arguments \\\n  '1::verb:(doctor)' \\\n  " + \
        " \\\n  ".join(rows) + "\n"


sys.stdout.write({"man": man, "bash": bash, "zsh": zsh}[kind]())

"""Where the time of a command goes, by the kernel's tracepoints: phases, system calls and page faults, of whole processes."""

import ctypes
import os
import re
import statistics
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")
EVENTS = ["sched/sched_process_exec", "sched/sched_process_fork", "sched/sched_process_exit", "exceptions/page_fault_user", "exceptions/page_fault_kernel", "raw_syscalls"]
LINE = re.compile(r"^.*-(\d+)\s+\[\d+\] \S+\s+(\d+\.\d+): (\w+): (.*)$")


def names_of_system_calls():
    defined = subprocess.run(["cc", "-dM", "-E", "-include", "asm/unistd.h", "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", defined.stdout, re.M)}


def sections_of(binary):
    """Address ranges of a program that is linked at fixed addresses."""
    listed = subprocess.run(["readelf", "-SW", binary], capture_output=True, text=True, check=True).stdout
    found = []
    for name, address, size in re.findall(r"\] (\.\S+)\s+\S+\s+([0-9a-f]{16}) \S+ ([0-9a-f]+)", listed):
        kind = {".text": "text", ".data": "data", ".bss": "data", ".got": "data", ".data.rel.ro": "data", ".tdata": "data"}.get(name, "read-only data")
        found.append((int(address, 16), int(address, 16) + int(size, 16), kind))
    return [section for section in found if section[0]]


def kind_of(address, sections):
    for begin, end, kind in sections:
        if begin & ~0xFFF <= address < (end + 0xFFF) & ~0xFFF:
            return kind
    return "stack" if address >> 40 == 0x7F and address & 0xFF_0000_0000 >= 0xFC_0000_0000 else "heap"


class Tracing:
    """An instance of tracefs of its own. Needs root, and a mount namespace of one's own."""

    def __init__(self):
        if not (TRACEFS / "instances").is_dir():
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mount(b"tracefs", str(TRACEFS).encode(), b"tracefs", 0, None) != 0:
                raise OSError(ctypes.get_errno(), "cannot mount tracefs")
        self.place = TRACEFS / "instances" / f"rootlet-bench-{os.getpid()}"
        self.place.mkdir()
        self.write("buffer_size_kb", "8192")
        self.write("trace_clock", "mono")
        self.write("options/event-fork", "1")
        for event in EVENTS:
            self.write(f"events/{event}/enable", "1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.write("tracing_on", "0")
        self.write("set_event_pid", "")
        self.place.rmdir()

    def write(self, name, text):
        (self.place / name).write_text(text)

    def trace(self, argv, environment, uid):
        """Runs a program as an ordinary user; its events, of it and its children: (pid, microseconds, event, fields)."""
        self.write("trace", "")
        ready, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(ready, 1)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.execve(argv[0], argv, environment)
        os.close(ready)
        self.write("set_event_pid", str(pid))
        self.write("tracing_on", "1")
        os.close(go)
        _, status = os.waitpid(pid, 0)
        self.write("tracing_on", "0")
        if status != 0:
            raise RuntimeError(f"{argv}: status {status}")
        found = [LINE.match(line) for line in (self.place / "trace").read_text().splitlines()]
        return pid, [(int(match[1]), float(match[2]) * 1e6, match[3], match[4]) for match in found if match]


def read(pid, events, names, sections):
    """What one run has cost: phases in microseconds, calls (count and time) and faults, by who has made them."""
    marks, calls, faults, inside = {}, defaultdict(lambda: [0, 0.0]), Counter(), {}
    child = None
    for who, when, event, fields in events:
        if event == "sched_process_exec":
            marks.setdefault("begun" if who == pid else "executed", when)
        elif event == "sched_process_fork" and who == pid and child is None:
            child, marks["cloned"] = int(re.search(r"child_pid=(\d+)", fields)[1]), when
        elif event == "sched_process_exit":
            marks["left" if who == pid else "ended"] = when
        if "begun" not in marks:
            continue
        phase = "parent" if who == pid else "program" if "executed" in marks else "child"
        if event == "sys_enter":
            inside[who] = (int(re.match(r"NR (-?\d+)", fields)[1]), when)
        elif event == "sys_exit" and who in inside:
            number, since = inside.pop(who)
            counted = calls[phase, names.get(number, str(number))]
            counted[0] += 1
            counted[1] += when - since
        elif event.startswith("page_fault"):
            address = int(re.search(r"address=0x([0-9a-f]+)", fields)[1], 16)
            part = "parent, before the clone" if phase == "parent" and child is None else "parent, after it" if phase == "parent" else phase
            faults[part, kind_of(address, sections) if phase != "program" else "all"] += 1
    phases = {
        "exec to clone": marks["cloned"] - marks["begun"],
        "clone to execve": marks["executed"] - marks["cloned"],
        "the program": marks["ended"] - marks["executed"],
        "its end to ours": marks["left"] - marks["ended"],
    }
    return phases, calls, faults


def profile(programs, environment, uid, rounds):
    """Prints where the time of each goes: `programs` are lists of words by their names; the kernel's tracing adds to all of it."""
    names = names_of_system_calls()
    results = defaultdict(list)
    with Tracing() as tracing:
        for _ in range(rounds + 1):
            for name, (binary, argv) in programs.items():
                pid, events = tracing.trace(argv, environment, uid)
                results[name].append(read(pid, events, names, sections_of(binary)))
    for name, runs in results.items():
        runs = runs[1:]
        print(f"{name}: medians of {len(runs)} runs, traced, which takes as long again")
        for phase in runs[0][0]:
            print(f"    {phase:24} {statistics.median(run[0][phase] for run in runs) / 1000:8.2f} ms")
        for part in ["parent, before the clone", "parent, after it", "child", "program"]:
            kinds = sorted({kind for run in runs for where, kind in run[2] if where == part})
            counts = {kind: int(statistics.median(run[2][part, kind] for run in runs)) for kind in kinds}
            said = "" if part == "program" else ": " + ", ".join(f"{kind} {count}" for kind, count in counts.items())
            print(f"    page faults of the {part}: {sum(counts.values())}{said}")
        for part in ["parent", "child", "program"]:
            all_names = {call for run in runs for where, call in run[1] if where == part}
            costs = {call: (int(statistics.median(run[1][part, call][0] if (part, call) in run[1] else 0 for run in runs)), statistics.median(run[1][part, call][1] if (part, call) in run[1] else 0.0 for run in runs)) for call in all_names}
            waiting = {"rt_sigtimedwait", "wait4", "poll", "ppoll", "exit_group"}
            total = sum(count for count, _ in costs.values())
            dear = sorted(((call, cost) for call, cost in costs.items() if call not in waiting), key=lambda item: -item[1][1])[:12]
            print(f"    system calls of the {part}: {total}; most of their time: " + ", ".join(f"{call} {count}x {spent:.0f} us" for call, (count, spent) in dear))
        print()

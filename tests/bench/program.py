"""A program under measurement, and what /proc knows about it and about the servers."""

import os
import subprocess
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Program:
    """Runs a command from `with` to its end; what it prints goes to `log`."""

    def __init__(self, name, command, environment, log):
        self.name, self._command, self._environment, self._log = name, command, environment, log

    def __enter__(self):
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Softly, as an operator would; the program must return what it holds to the queue and end well."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def check(self):
        """Fails with the end of the log when the program has ended on its own."""
        if self._process.poll() is not None:
            tail = Path(self._log).read_text(encoding="utf-8").splitlines()[-20:]
            raise RuntimeError(f"{self.name} ended with code {self._process.returncode}:\n" + "\n".join(tail))

    def cpu(self):
        return cpu_of(self._process.pid)

    def memory(self, field):
        """VmRSS (now) or VmHWM (the most ever) in MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"no {field} of {self.name}")


def cpu_of(pid, with_children=False):
    """Seconds of CPU; with the children it has now, and those that it had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    seconds = sum(map(int, fields[11:15] if with_children else fields[11:13])) / TICK
    if with_children:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        seconds += sum(cpu_of(child) for child in children)
    return seconds

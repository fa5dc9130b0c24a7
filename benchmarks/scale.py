"""One round of 100, 1,000 and 10,000 members x 1M parameters: `python -m benchmarks.scale [--members 100,1000]`.

It writes benchmarks/results/scale.md and scale.json. 10,000 members take about half an hour and 46 GB of disk in the temporary folder
(TMPDIR), which are given back at the end.

The round is a real one: the contract on the embedded EVM with its journal on disk, members with keys of their own that sign EIP-712
commitments, one batch, updates that arrive one by one and are checked and stored, the next model proposed and finalised. Then a validator
in a process of its own judges it from ledger and store. Everything runs on two cores.

members      work in processes of their own, one member after another, each with a ledger and a store of its own (in memory where
             the system has a folder for that: their disks are not the server's). A member's update is random, by its number. Nobody's
             disk holds 10,000 members' updates twice, so each is made a second time when the batch is posted; that is no
             member's work and counts for nothing.
server       holds the ledger (the EVM), the store and the aggregator. While it checks an update, the next member works on the other core.
             What comes through the pipe from the member's process (4 MB) stands for the network and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from benchmarks.memory import Memory, status
from benchmarks.record import Figure, save
from tallystick import keys, ledger, store
from tallystick.aggregation import Combined, Readable
from tallystick.blob import Header
from tallystick.encoding import Arrays, Words, default_leaf_words, layout_of, quantise
from tallystick.ledger import Ledger, Signer, address_of
from tallystick.protocol import Admit, Call, Phase
from tallystick.roles import sponsor
from tallystick.roles.aggregator import Aggregator
from tallystick.roles.batch import Position
from tallystick.roles.participant import Participant
from tallystick.roles.receipt import Receipt, Reply
from tallystick.roles.validator import Validator
from tallystick.store import Kind
from tallystick.sumtree import Entry

MEMBERS, QUICK_MEMBERS = (100, 1_000, 10_000), (20, 200)
SIZE, QUICK_SIZE = 1_000_000, 100_000
CORES = 2
SLOTS = 4
SEED = 7
MEMORY_TARGET = 4e9
SPARE = 1 << 30
"""Bytes of disk beside the updates: journal, models, other processes."""

Seconds = dict[str, float]


def initial(size: int) -> Arrays:
    """The model that the task starts from, one tensor of float32."""
    return {"w": np.random.default_rng(SEED).random(size, np.float32) - np.float32(0.5)}


class Desk:
    """Where members work, one after another: ledger and base model are read once, everything else is each member's own."""

    def __init__(self, folder: Path, task: bytes, size: int) -> None:
        self.ledger = ledger.open(f"embedded:{folder / 'ledger.sqlite'}")
        self.task = task
        self.arrays = initial(size)
        self.layout = layout_of(self.arrays)
        self.base = quantise(self.arrays, self.layout, self.ledger.task(task).parameters.scale)

    def sign(self, member: int) -> tuple[Receipt, Seconds]:
        """A member trains (its update is random), stores its update and signs the commitment."""
        with self._participant(member) as participant:
            started = time.perf_counter()
            update, weight = self.update(participant, member), self.weight(member)
            made = time.perf_counter()
            participant.check_layout(self.layout)
            participant.check_base(1, self.base)
            receipt = participant.sign(1, update, weight, node=member)
            signed = time.perf_counter()
        return receipt, {"make": made - started, "sign": signed - made, "memory": status("VmHWM")}

    def release(self, member: int, at: Position) -> tuple[Receipt, Words, Seconds]:
        """A member checks that the batch on the ledger holds its commitment, and lets go of the update."""
        with self._participant(member) as participant:
            leaf_words = participant.parameters.leaf_words
            participant.store.put(Kind.UPDATE, self.update(participant, member), leaf_words)
            started = time.perf_counter()
            shown = (at.entry, at.signature, at.index, at.path)
            receipt, words = participant.release(1, *shown, node=member)
            sent = np.array(words)
            released = time.perf_counter()
        return receipt, sent, {"release": released - started, "memory": status("VmHWM")}

    def update(self, participant: Participant, member: int) -> Words:
        """A member's update: a random step of up to 1/256 from the base, quantised as a Flower member's is."""
        random = np.random.default_rng([SEED, member])
        step = random.random(self.layout.size, np.float32)
        step -= np.float32(0.5)
        step *= np.float32(2**-7)
        step += self.arrays["w"]
        return participant.update({"w": step}, self.base, self.layout)

    def weight(self, member: int) -> int:
        """A member's number of examples."""
        return 100 + member * 37 % 1900

    @contextmanager
    def _participant(self, member: int) -> Iterator[Participant]:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="tallystick-member-", dir=memory) as own:
            key = keys.demo(SEED, "member", member)
            yield Participant(self.ledger, store.open(own), key, self.task)


_desks: list[Desk] = []


def sit_down(folder: Path, task: bytes, size: int) -> None:
    """Begin to work for members in this process; it ends with the one that started it."""
    _desks[:] = [Desk(folder, task, size)]


def sign(member: int) -> tuple[Receipt, Seconds]:
    """`Desk.sign` at this process's desk."""
    return _desks[0].sign(member)


def release(member: int, at: Position) -> tuple[Receipt, Words, Seconds]:
    """`Desk.release` at this process's desk."""
    return _desks[0].release(member, at)


def stream(
    pool: Executor, work: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Any]:
    """Results in order, with never more than `ahead` begun beside the one that is waited for."""
    begun: deque[Future[Any]] = deque()
    for task in tasks:
        begun.append(pool.submit(work, *task))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


class Metered:
    """A ledger that keeps count of the gas of every call."""

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self.gas: dict[str, list[int]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def send(self, signer: Signer, *calls: Call) -> list[ledger.Receipt]:
        receipts = self._inner.send(signer, *calls)
        for receipt in receipts:
            self.gas[type(receipt.call).__name__].append(receipt.gas)
        return receipts


class Clock:
    """Seconds, and seconds of the processor, by phase."""

    def __init__(self) -> None:
        self.wall: Seconds = defaultdict(float)
        self.processor: Seconds = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall[phase] += time.perf_counter() - wall
            self.processor[phase] += time.process_time() - processor


class Timed(Aggregator):
    """An aggregator whose combining is timed apart from proposing."""

    clock: Clock

    def combine(self, entries: Sequence[Entry], updates: Sequence[Readable]) -> Combined:
        with self.clock("combine"):
            return super().combine(entries, updates)


def play(
    folder: Path,
    members: int,
    size: int,
    desks: Callable[[Callable[..., None], tuple[Any, ...]], Executor],
) -> dict[str, Any]:
    """Play one round in `folder`; what it took. `desks` makes the pool that members work in, from its initialiser and arguments."""
    began, clock, memory, told = time.perf_counter(), Clock(), Memory(), Progress(members)
    chain = Metered(ledger.open(f"embedded:{folder / 'ledger.sqlite'}"))
    kept = store.open(str(folder / "store"))
    boss_key = keys.demo(SEED, "aggregator", 0)
    arrays = initial(size)
    with clock("admit"):
        addresses = [address_of(keys.demo(SEED, "member", k)) for k in range(members)]
        task = sponsor.create_task(
            chain, kept, keys.demo(SEED, "sponsor", 0), arrays, members=addresses, rounds=1,
            slots=SLOTS, salt=bytes(32),
        )  # fmt: skip
        sponsor.bond(chain, boss_key, task, 1)
    told("members admitted", members)
    layout = layout_of(arrays)
    boss = Timed(chain, kept, boss_key, task, layout, threads=CORES)
    boss.clock = clock
    boss.start(quantise(arrays, layout, boss.parameters.scale))
    work: Seconds = defaultdict(float)

    def spent(seconds: Seconds) -> None:
        work["memory"] = max(work["memory"], seconds.pop("memory"))
        for name, value in seconds.items():
            work[name] += value

    with clock("open"):
        boss.open()
    with desks(sit_down, (folder, task, size)) as pool:
        for k, (receipt, seconds) in enumerate(stream(pool, sign, zip(range(members)), 2 * CORES)):
            with clock("signatures"):
                boss.accept(Reply(k, receipt, receipt.weight, None))
            spent(seconds)
            told("commitments signed and checked", k + 1)
        with clock("batch"):
            positions = boss.post_batch()
        tasks = ((k, positions[address]) for k, address in enumerate(addresses))
        for k, (receipt, words, seconds) in enumerate(stream(pool, release, tasks, 1)):
            with clock("updates"):
                boss.accept(Reply(k, receipt, receipt.weight, words))
            spent(seconds)
            told("updates checked and stored", k + 1)
    with clock("close"):
        closed = boss.close()
    told("updates combined, the next model proposed", members)
    with clock("finalise"):
        chain.wait(chain.round(task, 1).final_at)
        boss.finalise_due()
    if len(closed.entries) != members or chain.round(task, 1).phase != Phase.FINAL:
        raise AssertionError(f"{len(closed.entries)} of {members} members counted")
    seconds = dict(clock.wall) | {"propose": clock.wall["close"] - clock.wall["combine"]}
    phases = ("open", "signatures", "batch", "updates", "close", "finalise")
    chain.close()
    return {
        "members": members,
        "size": size,
        "task": task.hex(),
        "seconds": time.perf_counter() - began,
        "phases": seconds,
        "server": sum(seconds[phase] for phase in phases),
        "server_processor": sum(clock.processor[phase] for phase in phases),
        "member": {name: work[name] / members for name in ("make", "sign", "release")},
        "member_resident": work["memory"],
        "memory": memory.totals(),
        "store_bytes": _bytes(folder / "store"),
        "journal_bytes": sum(path.stat().st_size for path in folder.glob("ledger.sqlite*")),
        "gas": {name: sum(spent) for name, spent in chain.gas.items()},
        "admissions": len(chain.gas[Admit.__name__]),
    }


def judge(folder: Path, task: bytes) -> dict[str, Any]:
    """Judge the round in `folder` as a validator does; what it took."""
    memory, clock = Memory(), Clock()
    with clock("open"):
        chain = ledger.open(f"embedded:{folder / 'ledger.sqlite'}")
    validator = Validator(chain, store.open(str(folder / "store")), None, task, threads=CORES)
    with clock("judge"):
        verdict = validator.judge(1)
    if verdict.lie is not None or verdict.hidden is not None:
        raise AssertionError(f"the round was right, and the verdict is {verdict}")
    return {"seconds": clock.wall, "processor": clock.processor, "memory": memory.totals()}


class Progress:
    """A line on the terminal ten times per phase."""

    def __init__(self, members: int) -> None:
        self._members = members
        self._began = time.perf_counter()

    def __call__(self, what: str, done: int) -> None:
        if done % max(1, self._members // 10) == 0 or done == self._members:
            seconds = time.perf_counter() - self._began
            print(f"  {done:,} of {self._members:,} {what}, {seconds:.0f} s", flush=True)


def processes(initialiser: Callable[..., None], arguments: tuple[Any, ...]) -> Executor:
    """Members' processes, which start from nothing: their memory is not the server's."""
    return ProcessPoolExecutor(CORES, get_context("spawn"), initialiser, arguments)


def counts(text: str) -> tuple[int, ...]:
    """Numbers of members from `100,1000`, ascending."""
    found = tuple(sorted(map(int, text.split(","))))
    if found[0] < 1:
        raise ValueError(text)
    return found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def needed(members: int, size: int) -> int:
    """Bytes of disk that a round takes."""
    return members * Header(Kind.UPDATE, default_leaf_words(size), size).total_bytes + SPARE


def check_space(members: int, size: int) -> None:
    """Exit where the temporary folder cannot hold a round."""
    folder, wanted = tempfile.gettempdir(), needed(members, size)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        sys.exit(
            f"{members:,} members x {size:,} words take {wanted / 1e9:.0f} GB of disk and {folder} has {free / 1e9:.0f} GB free. "
            "Free some, set TMPDIR to a folder with more, or leave them out (--members 100,1000)."
        )


def one(members: int, size: int) -> dict[str, Any]:
    """A round and its judgement, each in a new process, in a folder that is gone afterwards."""
    check_space(members, size)
    folder = Path(tempfile.mkdtemp(prefix="tallystick-scale-"))
    try:
        found = _apart(folder, "play", str(members), str(size))
        return found | {"validator": _apart(folder, "judge", found["task"])}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _apart(folder: Path, *step: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale", "--folder", str(folder), "--step", *step]
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        sys.exit(f"{step[0]} failed (exit {code})")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def _step(folder: Path, step: Sequence[str]) -> None:
    if step[0] == "play":
        found = play(folder, int(step[1]), int(step[2]), processes)
    else:
        found = judge(folder, bytes.fromhex(step[1]))
    (folder / "found.json").write_text(json.dumps(found))


def lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table: a line a figure, a column a round."""

    def line(what: str, value: Callable[[dict[str, Any]], float], digits: int = 1) -> list[str]:
        return [what, *(f"{value(row):,.{digits}f}" for row in rows)]

    def phase(what: str, name: str) -> list[str]:
        return line(what, lambda row: row["phases"][name], 2)

    def gas(what: str, value: Callable[[dict[str, Any]], float]) -> list[str]:
        return line(f"gas: {what}", value, 0)

    def of(row: dict[str, Any]) -> float:
        return row["members"]

    return [
        line("the round from end to end, s", lambda r: r["seconds"]),
        phase("admission, once a task, s", "admit"),
        line("a member: makes and quantises its update, ms", lambda r: 1e3 * r["member"]["make"]),
        line("a member: checks the model, stores, hashes, signs, ms", lambda r: 1e3 * r["member"]["sign"]),
        line("a member: checks the batch, reads and re-hashes, ms", lambda r: 1e3 * r["member"]["release"]),
        line("a member's process: peak resident, MB", lambda r: r["member_resident"] / 1e6, 0),
        phase("server: checks signed commitments, s", "signatures"),
        phase("server: batch, s", "batch"),
        phase("server: checks and stores updates, s", "updates"),
        phase("server: combines, s", "combine"),
        phase("server: stores the next model, proposes, s", "propose"),
        phase("server: finalises, s", "finalise"),
        line("server: all of it, s", lambda r: r["server"]),
        line("**server: a member, ms**", lambda r: 1e3 * r["server"] / of(r)),
        line("server: processor a member, ms", lambda r: 1e3 * r["server_processor"] / of(r)),
        line("**server: peak anonymous memory, MB**", lambda r: r["memory"]["anonymous"] / 1e6, 0),
        line("server: peak resident (VmHWM), MB", lambda r: r["memory"]["resident"] / 1e6, 0),
        line("server: peak of mapped files in it, MB", lambda r: r["memory"]["mapped"] / 1e6, 0),
        line("disk: store, GB", lambda r: r["store_bytes"] / 1e9, 2),
        line("disk: journal, MB", lambda r: r["journal_bytes"] / 1e6, 2),
        gas("admission, all", lambda r: r["gas"]["Admit"]),
        gas("admission, transactions", lambda r: r["admissions"]),
        gas("admission, a member", lambda r: r["gas"]["Admit"] / of(r)),
        gas("open", lambda r: r["gas"]["Open"]),
        gas("batch", lambda r: r["gas"]["CommitBatch"]),
        gas("propose", lambda r: r["gas"]["Propose"]),
        gas("finalise", lambda r: r["gas"]["Finalise"]),
        gas("**the round**", round_gas),
        gas("the round, a member", lambda r: round_gas(r) / of(r)),
        line("validator: opens the ledger, s", lambda r: r["validator"]["seconds"]["open"]),
        line("validator: judges, s", lambda r: r["validator"]["seconds"]["judge"]),
        line("validator: judges, a member, ms", lambda r: 1e3 * r["validator"]["seconds"]["judge"] / of(r)),
        line("validator: peak anonymous memory, MB", lambda r: r["validator"]["memory"]["anonymous"] / 1e6, 0),
        line("validator: peak resident (VmHWM), MB", lambda r: r["validator"]["memory"]["resident"] / 1e6, 0),
        line("validator: peak of mapped files in it, MB", lambda r: r["validator"]["memory"]["mapped"] / 1e6, 0),
    ]  # fmt: skip


def round_gas(row: dict[str, Any]) -> int:
    """Gas of a round's four transactions, whatever the number of members."""
    return sum(row["gas"][name] for name in ("Open", "CommitBatch", "Propose", "Finalise"))


def figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What the index shows: of the largest round."""
    last = rows[-1]
    name = f"{last['members']:,} members x {last['size']:,} words"
    memory = max(last["memory"]["anonymous"], last["validator"]["memory"]["anonymous"])
    found = [
        Figure(f"{name}: a round from end to end, admission included", f"{last['seconds']:,.0f} s"),
        Figure(f"{name}: server, a member", f"{1e3 * last['server'] / last['members']:.0f} ms"),
        Figure(f"{name}: peak memory of server and validator, mapped files apart", f"{memory / 1e9:.2f} GB", "≤ 4 GB", memory <= MEMORY_TARGET),
        Figure(f"{name}: gas of the round", f"{round_gas(last):,} gas"),
        Figure(f"{name}: validator judges it", f"{last['validator']['seconds']['judge']:,.0f} s"),
    ]  # fmt: skip
    if len(rows) > 1:
        before = rows[-2]
        ratio = last["server"] / last["members"] / (before["server"] / before["members"])
        what = f"server's seconds a member, {last['members']:,} members / {before['members']:,}"
        found.insert(2, Figure(what, f"{ratio:.2f}", "≤ 1.5, reported only"))
    return found


def main() -> int:
    """Measure, save and print; 1 if the memory target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=counts, metavar="N,N", help="(default: 100,1000,10000)")
    parser.add_argument("--quick", action="store_true", help="20 and 200 members x 100,000 words")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    if options.step:
        _step(options.folder, options.step)
        return 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    members, size = (QUICK_MEMBERS, QUICK_SIZE) if options.quick else (MEMBERS, SIZE)
    members = options.members or members
    check_space(max(members), size)
    load, rows = os.getloadavg()[0], []
    for count in members:
        print(f"{count:,} members x {size:,} words", flush=True)
        rows.append(one(count, size))
    heads = ("", *(f"{row['members']:,} members" for row in rows))
    about = f"""One round of members with {size:,} parameters each (float32, quantised to int32 words), batched commitments, on {CORES} cores: the real
contract on the embedded EVM with its journal on disk, real keys and signatures, updates that come one by one and are checked and stored, the next model
proposed and finalised, then judged by a validator from ledger and store. Members' own work is shown apart: in reality it is done on machines of
their own, all at once; here one after another, so that the round from end to end is mostly theirs. Members read a ledger of
their own and have their stores in memory; their hashes of the base model are counted once a process. What a member sends comes through a pipe, whose time is
not the server's. Anonymous memory is what the process alone holds; mapped files are page cache, which the kernel takes back when it
needs it. Members have {SLOTS} slots each, which admission prepays. Load average {load:.1f} at the start."""
    given = f"--members {','.join(map(str, members))}" if options.members else ""
    page = table.markdown(heads, lines(rows))
    title = "One round of many members"
    return int(not save("scale", title, about, page, rows, figures(rows), options.quick, given))


if __name__ == "__main__":
    sys.exit(main())

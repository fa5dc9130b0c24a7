"""A demo from beginning to end: ledger, members, task, rounds, finality, audit, report; and again after a kill."""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import keys, ledger, run, store
from ..aggregation import MAX_TOTAL_WEIGHT
from ..blob import HEADER_BYTES
from ..demo import get
from ..errors import InvalidParameter, TallystickError
from ..flower.settings import close_ledgers, ledger_at
from ..ledger import Ledger, address_of
from ..protocol import Refuted, Settlement
from ..roles import auditor, finality
from ..roles.auditor import Audit, Finding
from ..roles.sponsor import bond, create_task, stake
from ..roles.validator import Validator, Verdict, tell
from ..run import RunFolder
from .engines import ENGINES
from .engines import run as run_engine
from .plan import HOSTILE, Plan, role

SLOTS = 4
MAX_SEED = 2**32 - 1
"""What every library here takes."""
COMMIT_WINDOW, CHALLENGE_WINDOW = 600, 3600
"""Seconds on a virtual clock, which jumps."""
REAL_COMMIT_WINDOW, REAL_CHALLENGE_WINDOW = 20, 2
"""Seconds on a real one, which a demo does not want to wait for."""

VOTED, VOTERS = ("early", "quorum"), 3
"""Settlements that ask for votes, and the validators that the demo has then."""

Progress = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Options:
    """What a demo is asked for; kept in run.json, so that a resumed run is the same run."""

    job: str
    members: int
    rounds: int
    seed: int
    ledger: str
    engine: str
    partition: str = "iid"
    batched: bool = False
    threads: int = 1
    hostile: dict[int, str] = field(default_factory=dict)
    liar: int = 0
    """Height at which the aggregator lies, and a validator watches; 0 for neither."""
    settlement: str = "window"
    """What makes a round final: the window's end; votes of three validators before it (early) or nothing but such (quorum); or a proof
    of every leaf on the ledger (proven)."""


def start(options: Options, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run a demo in a new folder; return what `--json` prints. Raises `InvalidParameter` before anything is made."""
    _check(options)
    made = run.create(
        folder, **(vars(options) | {"hostile": {str(k): v for k, v in options.hostile.items()}})
    )
    try:
        ledger_at(made.ledger_url())
    except TallystickError:
        # Without a ledger nothing has begun, and the folder is free for the next try.
        made.discard()
        raise
    return resume(made, progress)


def resume(folder: RunFolder, progress: Progress) -> dict[str, Any]:
    """Carry a demo on from wherever it was killed, or finish it again; return what `--json` prints."""
    began = time.perf_counter()
    options = _options(folder)
    job = get(options.job)
    chain = ledger_at(folder.ledger_url())
    try:
        return _run(folder, options, job, chain, began, progress)
    finally:
        close_ledgers()


def tamper(folder: RunFolder) -> dict[str, Any]:
    """Flip one weight in a copy of the run's store, audit the copy, and say what the audit found."""
    chain = ledger.open(folder.ledger_url())
    settings = folder.read()
    task = bytes.fromhex(str(settings["task_id"]))
    copy = folder.path / "tampered-store"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder.path / run.STORE, copy)
    kept = store.open(str(copy))
    try:
        rounds = folder.rounds()
        victim = rounds[len(rounds) // 2]
        member = victim["members"][len(victim["members"]) // 2]
        path = kept.path(bytes.fromhex(member["root"]))
        data = bytearray(path.read_bytes())
        parameters = chain.task(task).parameters
        word = int(np.random.default_rng(int(settings["seed"])).integers(parameters.dimension))
        data[HEADER_BYTES + 4 * word] ^= 1
        path.write_bytes(data)
        told = {"round": victim["round"], "member": "0x" + member["member"], "word": word}
        try:
            auditor.audit(chain, kept, task)
        except Finding as finding:
            return {"flipped": told, "found": True, "finding": str(finding)}
        return {"flipped": told, "found": False, "finding": ""}
    finally:
        chain.close()


def audit_run(folder: RunFolder, progress: auditor.Progress | None = None) -> Audit:
    """Audit a run folder as it lies there."""
    settings = folder.read()
    if "task_id" not in settings:
        raise InvalidParameter(
            f"{folder.path} was stopped before its task existed. Finish it: tallystick demo --resume {folder.path}"
        )
    url = folder.ledger_url()
    scheme, _, rest = url.partition(":")
    if scheme in ("embedded", "hashchain") and not Path(rest.partition("?")[0]).exists():
        raise auditor.Finding(auditor.Place(), f"its ledger {rest.partition('?')[0]} is missing.")
    chain = ledger.open(url)
    try:
        head = settings.get("head")
        known = ledger.Head(int(head["number"]), bytes.fromhex(head["hash"])) if head else None
        return auditor.audit(
            chain, store.open(folder.store_url), bytes.fromhex(settings["task_id"]), known, progress
        )
    finally:
        chain.close()


def _check(options: Options) -> None:
    get(options.job)
    if options.engine not in ENGINES:
        raise InvalidParameter(f"no engine {options.engine!r}. Use one of {', '.join(ENGINES)}.")
    if options.ledger.partition("?")[0] in ("embedded:", "hashchain:"):
        raise InvalidParameter(
            f"{options.ledger!r} is in memory, and a run folder keeps its ledger. "
            "Give it a file, as in embedded:ledger.sqlite."
        )
    if options.members < 1 or options.rounds < 1 or options.threads < 1:
        raise InvalidParameter("members, rounds and threads start at 1.")
    if not 0 <= options.seed <= MAX_SEED:
        raise InvalidParameter(f"the seed is {options.seed}. Use one from 0 to {MAX_SEED}.")
    if not 0 <= options.liar <= options.rounds:
        raise InvalidParameter(
            f"no round {options.liar} to lie in. Use one from 1 to {options.rounds}."
        )
    if options.settlement.upper() not in Settlement.__members__:
        known = ", ".join(each.name.lower() for each in Settlement)
        raise InvalidParameter(f"no settlement {options.settlement!r}. Use one of {known}.")
    if options.settlement == "proven" and options.batched:
        raise InvalidParameter("the ledger proves direct commitments only. Leave out --batched.")
    if len(options.hostile) >= options.members:
        raise InvalidParameter("every member is hostile: nothing is left to learn from.")
    for member, kind in options.hostile.items():
        if kind not in HOSTILE or not 0 <= member < options.members:
            raise InvalidParameter(
                f"no hostile member {member}:{kind}. Use an index below {options.members} and one of {', '.join(HOSTILE)}."
            )
    get(options.job).shard(0, options.members, options.seed, options.partition)


def _options(folder: RunFolder) -> Options:
    found = folder.read()
    lacking = sorted(set(Options.__dataclass_fields__) - set(found))
    if lacking:
        raise InvalidParameter(
            f"{folder.path / run.SETTINGS} lacks {', '.join(lacking)}, so the run cannot be carried on. Start it again."
        )
    hostile = {int(index): kind for index, kind in found["hostile"].items()}
    names = Options.__dataclass_fields__
    return Options(**({name: found[name] for name in names} | {"hostile": hostile}))


def _is_virtual(url: str) -> bool:
    return url.startswith(("embedded:", "hashchain:")) and "clock=wall" not in url


def _run(
    folder: RunFolder, options: Options, job: Any, chain: Ledger, began: float, progress: Progress
) -> dict[str, Any]:
    kept = store.open(folder.store_url)
    url = folder.ledger_url()
    sponsor = keys.demo(options.seed, "sponsor", 0)
    aggregator = keys.demo(options.seed, "aggregator", 0)
    voters = VOTERS if options.settlement in VOTED else 1
    extra = [keys.demo(options.seed, "aggregator", 1)]
    extra += [keys.demo(options.seed, "validator", k) for k in range(voters)]
    members = [keys.demo(options.seed, "member", k) for k in range(options.members)]
    gas: Counter[str] = Counter()

    progress("setup", {"members": options.members, "rounds": options.rounds})
    if "task_id" not in folder.read():
        # The salt is written before the task is created, so that a killed set-up finds its own task again.
        salt = str(folder.read().get("salt") or _salt(options, url))
        folder.update(salt=salt)
        fund(chain, [sponsor, aggregator, *extra, *members])
        virtual = _is_virtual(url)
        task = create_task(
            chain, kept, sponsor, job.initial(options.seed),
            members=[address_of(member) for member in members],
            rounds=options.rounds,
            max_weight=MAX_TOTAL_WEIGHT // options.members,
            slots=SLOTS,
            commit_window=COMMIT_WINDOW if virtual else REAL_COMMIT_WINDOW,
            challenge_window=CHALLENGE_WINDOW if virtual else REAL_CHALLENGE_WINDOW,
            settlement=Settlement[options.settlement.upper()],
            salt=bytes.fromhex(salt),
        )  # fmt: skip
        folder.update(
            task_id=task.hex(),
            contract="0x" + chain.contract.hex(),
            chain_id=chain.chain_id,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    task = bytes.fromhex(str(folder.read()["task_id"]))
    bond(chain, aggregator, task, SLOTS)
    if options.liar:
        bond(chain, extra[0], task, SLOTS)
    if options.settlement in VOTED:
        for voter in extra[1:]:
            stake(chain, voter, task, chain.task(task).parameters.stake)
    set_up = time.perf_counter() - began

    _recollect(folder, chain, task)
    done = folder.rounds()
    plan = Plan(
        job=options.job,
        members=options.members,
        rounds=options.rounds,
        seed=options.seed,
        ledger=url,
        store=str(Path(folder.store_url.removeprefix("file:")).resolve()),
        task=task.hex(),
        partition=options.partition,
        batched=options.batched,
        threads=options.threads,
        hostile=options.hostile,
        recorded=done[-1]["round"] if done else 0,
        liar=0 if folder.read().get("lies") else options.liar,
    )

    def accuse(verdict: Verdict) -> None:
        folder.update(accused=tell(verdict, chain, kept, task))

    validators = [
        Validator(chain, kept, key, task, threads=options.threads, found=accuse)
        for key in extra[1:]
    ]

    def judge(lag: int) -> None:
        """Have the validator look at what is `lag` rounds old: refuting takes time, and nobody waits for it."""
        if not options.liar and options.settlement not in VOTED:
            return
        height = _height(chain, task) - lag
        for verdict in [found for each in validators for found in each.watch(height)]:
            if verdict.event is not None:
                told = tell(verdict, chain, kept, task)
                gas["Refute"] += verdict.gas
                folder.update(lies=[*folder.read().get("lies", []), told])
                progress("refuted", told)

    def heard(record: dict[str, Any]) -> None:
        folder.append(record)
        progress("round", record)
        judge(1)

    mark = time.perf_counter()
    while True:
        done = folder.rounds()
        behind = not done or done[-1]["round"] < options.rounds
        if behind or _height(chain, task) < options.rounds:
            run_engine(options.engine, plan, folder.path, heard)
        judge(0)
        if chain.task(task).pending == 0:
            break
    trained = time.perf_counter() - mark

    progress("finality", {})
    mark = time.perf_counter()
    for receipt in finality.settle(chain, aggregator, task):
        gas[type(receipt.call).__name__] += receipt.gas
    head = chain.head()
    root = chain.round(task, chain.task(task).head).next_root
    folder.update(head={"number": head.number, "hash": head.hash.hex()}, model_root=root.hex())
    final = time.perf_counter() - mark

    mark = time.perf_counter()
    audited = audit_run(folder, lambda what, done, of: progress("audit", {what: done, "of": of}))
    seconds = {
        "setup": set_up,
        "rounds": trained,
        "finality": final,
        "audit": time.perf_counter() - mark,
        "total": time.perf_counter() - began,
    }
    return summary(folder, options, audited, dict(gas), seconds)


def _height(chain: Ledger, task: bytes) -> int:
    """Rounds that stand on the ledger, final or not yet."""
    return chain.round(task, chain.task(task).head).height


def _recollect(folder: RunFolder, chain: Ledger, task: bytes) -> None:
    """Tell of a refutation that a kill kept from being told, as far as it is known: what it cost is not."""
    settings = folder.read()
    lies, seen = settings.get("lies", []), settings.get("accused")
    if seen is None or any(lie["number"] == seen["number"] for lie in lies):
        return
    for _, event in chain.events(task):
        if isinstance(event, Refuted) and event.round == seen["number"]:
            told = seen | {"challenger": "0x" + event.challenger.hex(), "bounty": event.bounty}
            folder.update(lies=[*lies, told])
            return


def summary(
    folder: RunFolder,
    options: Options,
    audited: Audit,
    gas: dict[str, int],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The one object that `--json` prints, kept in run.json for the report."""
    records = folder.rounds()
    job = get(options.job)
    total: Counter[str] = Counter(gas)
    for record in records:
        total.update(record.get("gas", {}))
    last = audited.rounds[-1] if audited.rounds else None
    counted = {entry.member: entry for entry in last.roster} if last else {}
    members = []
    for index in range(options.members):
        account = address_of(keys.demo(options.seed, "member", index))
        kind = options.hostile.get(index)
        signs_as = address_of(keys.demo(options.seed, role(kind), index))
        reasons = _reasons(records, {account.hex(), signs_as.hex()})
        entry = counted.get(account)
        status = "counted" if entry is not None else "excluded" if reasons else "absent"
        members.append(
            {
                "address": "0x" + account.hex(),
                "index": index,
                "weight": entry.weight if entry else 0,
                "status": status,
                "reasons": reasons,
                **({"hostile": kind} if kind else {}),
                **({"signed_as": "0x" + signs_as.hex()} if signs_as != account else {}),
            }
        )
    metrics = records[-1]["metrics"].get("evaluate", {}) if records else {}
    told = {
        "demo": options.job,
        "title": job.title,
        "task_id": audited.task.hex(),
        "model_root": audited.model_root.hex(),
        "rounds": len(audited.rounds),
        "metric": job.metric,
        "metrics": metrics,
        "members": members,
        "gas": dict(sorted(total.items())) | {"total": sum(total.values())},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "audit": "ok",
        "blobs": audited.blobs,
        "head": {"number": audited.head.number, "hash": audited.head.hash.hex()},
        "engine": options.engine,
        "ledger": options.ledger,
        "lies": folder.read().get("lies", []),
        "run_dir": str(folder.path),
    }
    folder.update(result=told)
    return told


def _reasons(records: list[dict[str, Any]], accounts: set[str]) -> list[str]:
    """Why whoever signs with these accounts was left out, and of how many rounds."""
    found: Counter[str] = Counter()
    for record in records:
        found.update({e["reason"] for e in record.get("excluded", []) if e["member"] in accounts})
    return [f"{reason} in {count} round{'s'[: count > 1]}" for reason, count in found.items()]


def _salt(options: Options, url: str) -> str:
    """In a ledger of the run's own, a salt that makes equal runs equal; on a shared one, a new one each time."""
    if url.startswith(("embedded:", "hashchain:")):
        return options.seed.to_bytes(32, "big").hex()
    return secrets.token_hex(32)


def fund(chain: Ledger, accounts: list[ledger.Signer]) -> None:
    """Give demo accounts gas money where the ledger is a development node that offers it; elsewhere they need their own."""
    give = getattr(chain, "give", None)
    if give is None:
        return
    for account in accounts:
        give(address_of(account))

"""The page that a run leaves for people: one HTML file, no requests, no scripts, plots as inline SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from . import plots
from .errors import StoreUnavailable
from .run import RunFolder

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#566372;--line:#d9dfe6;--card:#fff;--page:#f4f6f8;--blue:#2a6fdb;--orange:#c46f14;--green:#17794a;--red:#b93434;--good:#eaf6ef;--bad:#fdeeee}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#a3b0bd;--line:#333e4a;--card:#1b222a;--page:#12171d;--blue:#6ea4ff;--orange:#f0a95c;--green:#5ec795;--red:#f28b8b;--good:#16291f;--bad:#331d1f}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 40px}a{color:var(--blue)}
h1{font-size:28px;line-height:1.2;margin:2px 0 18px}h2{font-size:20px;margin:32px 0 10px}h3{font-size:15px;margin:0 0 8px}
p{margin:0 0 10px}.soft{color:var(--soft)}.ok{color:var(--green)}.bad{color:var(--red)}
.eyebrow{color:var(--soft);margin:0;overflow-wrap:anywhere}
.verdict{border-left:6px solid var(--green);background:var(--good);border-radius:8px;padding:14px 18px;margin-bottom:16px}
.verdict.failed{border-color:var(--red);background:var(--bad)}.verdict b{font-size:20px}.verdict p{margin:4px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 16px;display:flex;flex-direction:column-reverse}
.tiles dd{margin:0;font-size:24px;font-weight:650}.tiles dt{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,350px),1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;min-width:0;overflow-x:auto}
.card>:last-child{margin-bottom:0}ul{margin:0;padding-left:20px}li{margin-bottom:6px}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child>*{border-bottom:0}th{color:var(--soft);font-weight:500}th:empty{padding:0}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:13px ui-monospace,monospace}code,.long{overflow-wrap:anywhere}td code,td span:not(.long){white-space:nowrap}
svg{width:100%;max-width:520px;height:auto;display:block}svg text{fill:var(--soft);font:12.5px system-ui,sans-serif}svg .value{fill:var(--ink)}svg .axis{font-size:12px}.grid line{stroke:var(--line)}
@media(max-width:720px){main{padding:20px 12px 32px}thead{position:absolute;clip-path:inset(50%)}tr{display:block;padding:8px 0;border-bottom:1px solid var(--line)}tr:last-child{border:0}
tr>*{display:flex;gap:12px;border:0;padding:2px 0}td.n,th.n{text-align:left}td::before{content:attr(data-name);flex:0 0 92px;color:var(--soft)}td:empty,td[data-name='']::before{display:none}td code{white-space:normal}td>div{min-width:0;overflow-wrap:anywhere}}
"""

REASONS = {
    "withheld": "committed to an update, or was asked for one, and did not send it",
    "wrong_root": "sent another update than it committed to",
    "wrong_keys": "sent other tensors than the task's",
    "not_finite": "sent NaN or infinity",
    "absurd_weight": "claimed a weight that is not the committed one, or is out of bounds",
    "stale_round": "sent the receipt of another round",
    "unknown_member": "signed with an account that the sponsor never admitted, or not with the account it named",
    "malformed": "sent something that is no reply of this protocol",
    "no_commitment": "sent an update without having committed to it",
}
"""What each reason for leaving somebody out means."""

GUARANTEED = (
    ("Bound.", "Each member committed to its update on the ledger before it sent it."),
    ("Exact.", "Anyone who combines the same updates gets this model root, bit for bit."),
    ("Audited.", "Commitments, rosters, aggregates and models were recomputed, without any key."),
    (
        "Answered for.",
        "A false proposal costs its author the bond: anybody can refute it in one transaction until its window has passed.",
    ),
    ("The same for all.", "Members checked each global model against the ledger before training."),
)
NOT_GUARANTEED = (
    ("Honest training on honest data.", "Nobody here sees a member's data."),
    (
        "That somebody looks.",
        "A lie that no validator refutes within its window becomes final; the audit still names it.",
    ),
    ("Privacy from the aggregator.", "It sees each member's update."),
    (
        "That who was left out did not deliver.",
        "The record is the aggregator's word, with its reason.",
    ),
)

MOST = 20
"""Members that the plot of weights shows; the table shows all."""

Record = dict[str, Any]


def write(folder: RunFolder) -> Path:
    """Write the report of a finished run; return its path."""
    settings = folder.read()
    try:
        folder.report.write_text(render(settings, folder.rounds()), "utf-8")
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {folder.report}: {error.strerror}. Free some space and run "
            f"tallystick demo --resume {folder.path}: nothing is lost."
        ) from error
    return folder.report


def render(settings: dict[str, Any], rounds: list[Record]) -> str:
    """The page, from run.json (whose `result` is what `demo --json` prints) and the rounds' records."""
    result = settings["result"]
    trained = [record for record in rounds if "members" in record]
    left_out = _left_out(result, trained)
    parts = [
        _verdict(result),
        _tiles(result),
        *(_lie(lie, result) for lie in result.get("lies", [])),
        f'<h2>Figures</h2><div class="grid">{"".join(_figures(result, rounds, trained))}</div>',
        f'<h2 id="members">Members</h2>{_members(result)}',
        f"<h2>Left out</h2>{left_out}" if left_out else "",
        f"<h2>Rounds</h2>{_rounds(result, trained)}",
        f"<h2>Receipts</h2>{_receipts(settings)}",
        '<h2>What this shows</h2><div class="grid">'
        f"{_card('Guaranteed', _list(GUARANTEED))}{_card('Not guaranteed', _list(NOT_GUARANTEED))}</div>",
    ]
    eyebrow = f"Tallystick run · {result['demo']} · seed {settings['seed']} · {result['engine']} engine · {settings.get('started', '')[:16].replace('T', ' ')} UTC"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Tallystick: {escape(result['demo'])}</title><style>{STYLE}</style></head><body><main>"
        f'<p class="eyebrow">{escape(eyebrow)}</p><h1>{escape(result["title"])}</h1>'
        f"{''.join(parts)}</main></body></html>\n"
    )


def _verdict(result: dict[str, Any]) -> str:
    out = sum(member["status"] != "counted" for member in result["members"])
    missing = (
        f' <a href="#members">{out} of {len(result["members"])} members</a> were not counted in the last round.'
        if out
        else " Every member was counted in the last round."
    )
    fine = result["audit"] == "ok"
    return (
        f'<div class="verdict{"" if fine else " failed"}"><b>Audit: <span class="{"ok" if fine else "bad"}">{escape(result["audit"])}</span></b>'
        f"<p>{result['rounds']} rounds and {result['blobs']} blobs recomputed from the ledger and the store, with no key.{missing}</p>"
        f"<p>Model root <code>{escape(result['model_root'])}</code></p></div>"
    )


def _lie(lie: dict[str, Any], result: dict[str, Any]) -> str:
    """What a false proposal claimed, how it came to nothing, and who paid."""
    title = f"Round {lie['round']}: the branch that was voided, and the one that stands"
    later = lie["voided"]
    told = (
        f"The first proposal of round {lie['round']} was refuted, and with it {later} later round{'s'[: later != 1]} became void. "
        f"The round was proposed again, and the run went on to round {result['rounds']}."
    )
    picture = plots.branches(title, result["rounds"], lie["round"], later, told)
    rows = [("what", f"<b>{escape(lie['fault'])}</b>: {escape(lie['said'])}")]
    if lie["leaf"] is not None:
        index = "".join(f"[{each}]" for each in lie["index"])
        rows += [
            ("where", f"{_code(lie['tensor'] + index)}, leaf {lie['leaf']}"),
            ("claimed", _word(lie["claimed"], lie)),
            ("right", _word(lie["right"], lie)),
        ]
    price = f"one transaction of {lie['gas']:,} gas" if lie["gas"] else "one transaction"
    rows += [
        ("proposed by", _code(lie["proposer"])),
        ("paid", f"its bond of {_ether(lie['bond'])} ether"),
        ("refuted by", f"{_code(lie['challenger'])}, in {price}"),
        ("was paid", f"{_ether(lie['bounty'])} ether of the bond; the rest is lost"),
    ]
    return (
        f'<h2>A lie, refuted</h2><div class="grid">{_card(title, picture + f"<p>{escape(told)}</p>")}'
        f"{_table('A lie, refuted', ('', ''), rows)}</div>"
    )


def _word(word: int, lie: dict[str, Any]) -> str:
    """A word as it stands in the vector, and the number that it is."""
    scale = lie.get("scale", 0)
    weighed = " (times the members' weights)" if lie["fault"] == "sum" else ""
    real = f" = {word / 2**scale:.9g}{weighed}" if scale else weighed
    return f"<code>{word}</code>{real}"


def _ether(wei: int) -> str:
    return f"{wei / 1e18:g}"


def _tiles(result: dict[str, Any]) -> str:
    counted = sum(member["status"] == "counted" for member in result["members"])
    shown = [
        (f"held-out {name}", f"{result['metrics'][name]:.4f}")
        for name in (result["metric"], "loss")
        if name in result["metrics"]
    ]
    shown += [
        ("rounds", str(result["rounds"])),
        ("members counted", f"{counted} of {len(result['members'])}"),
        ("gas in all", f"{result['gas']['total']:,}"),
        ("seconds in all", f"{result['seconds']['total']:.1f}"),
    ]
    tiles = "".join(
        f"<div><dd>{escape(text)}</dd><dt>{escape(name)}</dt></div>" for name, text in shown
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _figures(result: dict[str, Any], rounds: list[Record], trained: list[Record]) -> Iterable[str]:
    metric = result["metric"]
    names = dict.fromkeys((metric, "loss"))
    for name, colour in zip(names, ("var(--blue)", "var(--orange)"), strict=False):
        title = f"Held-out {name} after each round"
        yield _card(title, plots.lines(title, _series(rounds, name), colour, "round", name))
    title = "Members' weights in the last round (examples)"
    weights = [(f"{m['index']}: {m['address'][:8]}…", m["weight"]) for m in result["members"]]
    more = f"<p>… and {len(weights) - MOST} more, below.</p>" if len(weights) > MOST else ""
    yield _card(title, plots.bars(title, weights[:MOST], "var(--blue)", "examples") + more)
    title = "Time by phase (seconds)"
    yield _card(title, plots.bars(title, _phases(result, trained), "var(--green)", "seconds"))
    title = "Gas by kind of call (whole run)"
    by_call = [(name, gas) for name, gas in result["gas"].items() if name != "total"]
    yield _card(title, plots.bars(title, by_call, "var(--orange)", "gas"))
    title = "Gas of each round"
    gas = [(float(r["round"]), float(sum(r.get("gas", {}).values()))) for r in trained]
    yield _card(title, plots.columns(title, gas, "var(--orange)", "round", "gas"))


def _series(rounds: list[Record], name: str) -> list[tuple[float, float]]:
    found = []
    for record in rounds:
        value = record["metrics"].get("evaluate", {}).get(name)
        if value is not None:
            found.append((float(record["round"]), float(value)))
    return found


def _phases(result: dict[str, Any], rounds: list[Record]) -> list[tuple[str, float]]:
    """The run's phases, with the rounds' share split into its own."""
    seconds = result["seconds"]
    split: dict[str, float] = {}
    for record in rounds:
        for name, value in record.get("seconds", {}).items():
            if name != "total":
                split[name] = split.get(name, 0.0) + value
    shown = [("set-up", seconds.get("setup", 0.0))]
    shown += [(f"rounds: {name}", value) for name, value in split.items()]
    return shown + [(name, seconds.get(name, 0.0)) for name in ("finality", "audit")]


def _members(result: dict[str, Any]) -> str:
    total = sum(member["weight"] for member in result["members"]) or 1
    rows = []
    for member in result["members"]:
        said = [text.replace("_", " ", 1) for text in member["reasons"]]
        if "signed_as" in member:
            said.append(f"signed as {member['signed_as']}")
        if "hostile" in member:
            said.append(f"made hostile for this demo: {member['hostile']}")
        kind = "ok" if member["status"] == "counted" else "bad"
        rows.append(
            (
                str(member["index"]),
                _code(member["address"]),
                f"{member['weight']:,}",
                f"{100 * member['weight'] / total:.1f} %" if member["weight"] else "",
                f'<span class="{kind}">{escape(member["status"])}</span>',
                escape("; ".join(said)),
            )
        )
    names = ("member", "account", "weight", "share", "last round", "why left out")
    return _table("Members", names, rows, numbers=(0, 2, 3))


def _left_out(result: dict[str, Any], rounds: list[Record]) -> str:
    """Everybody that was left out of a round, admitted or not, by account where it gave one and by node where not."""
    known = {m["address"]: f"member {m['index']}, " for m in result["members"]}
    known |= {
        m["signed_as"]: f"member {m['index']}, signing as "
        for m in result["members"]
        if "signed_as" in m
    }
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in rounds:
        for each in record.get("excluded", []):
            account = "0x" + each["member"]
            who = (
                known.get(account, "") + _code(account)
                if each["member"]
                else f"node <code>{each['node']}</code>, which gave no account"
            )
            key = (
                who,
                each["reason"],
                "on the ledger" if each["on_ledger"] else "the run's record",
            )
            found.setdefault(key, []).append(record | {"detail": each["detail"]})
    if not found:
        return ""
    rows = [
        (
            who,
            f"<b>{escape(reason)}</b>: {escape(REASONS.get(reason, ''))}",
            _ranges([record["round"] for record in records]),
            where,
            f'<span class="long">{escape(str(records[-1]["detail"]))}</span>',
        )
        for (who, reason, where), records in found.items()
    ]
    names = ("who", "reason", "rounds", "recorded in", "seen last")
    note = (
        '<p class="soft">The ledger records an exclusion of a member that had committed; a node that never committed, '
        "or is no member, stands in the run's record only.</p>"
    )
    return note + _table("Left out", names, rows)


def _rounds(result: dict[str, Any], rounds: list[Record]) -> str:
    shown = tuple(dict.fromkeys((result["metric"], "loss")))
    rows = []
    for record in rounds:
        scores = record["metrics"].get("evaluate", {})
        rows.append(
            (
                str(record["round"]),
                str(len(record["members"])),
                str(len(result["members"]) - len(record["members"])),
                *(f"{scores[name]:.4f}" if name in scores else "" for name in shown),
                f"{sum(record.get('gas', {}).values()):,}",
                f"{record.get('seconds', {}).get('total', 0):.2f}",
                _code(record["model_root"]),
            )
        )
    names = ("round", "counted", "left out", *shown, "gas", "seconds", "model root")
    return _table("Rounds", names, rows, numbers=range(len(names) - 1))


def _receipts(settings: dict[str, Any]) -> str:
    result = settings["result"]
    rows = [
        ("task", result["task_id"]),
        ("model root", result["model_root"]),
        ("ledger", f"{result['ledger']}, chain {settings['chain_id']}, {settings['contract']}"),
        ("ledger's head", f"block {result['head']['number']}, {result['head']['hash']}"),
        ("audit it yourself", f"tallystick audit {result['run_dir']}"),
    ]
    return _table(
        "Receipts", ("what", "receipt"), [(escape(name), _code(value)) for name, value in rows]
    )


def _table(
    caption: str, names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """A table of ready HTML cells. Roles are spelt out, since a narrow screen shows rows as blocks."""
    kinds = ['class="n" ' if k in set(numbers) else "" for k in range(len(names))]
    head = "".join(
        f'<th {kind}role="columnheader" scope="col">{escape(name)}</th>'
        for kind, name in zip(kinds, names, strict=True)
    )
    body = "".join(
        '<tr role="row">'
        + "".join(
            f'<td {kind}role="cell" data-name="{escape(name)}">{cell and f"<div>{cell}</div>"}</td>'
            for kind, name, cell in zip(kinds, names, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="card"><table role="table" aria-label="{escape(caption)}"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h3>{escape(title)}</h3>{body}</section>'


def _list(points: Iterable[tuple[str, str]]) -> str:
    return f"<ul>{''.join(f'<li><b>{escape(a)}</b> {escape(b)}</li>' for a, b in points)}</ul>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _ranges(numbers: list[int]) -> str:
    """Rising numbers with their gaps: 1, 2, 3, 5 as "1–3, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}–{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)

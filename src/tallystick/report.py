"""The page that a run leaves for people: one HTML file, no requests, plots as inline SVG."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from .run import RunFolder

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 34
STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7a;--line:#d9dfe6;--card:#fff;--page:#f5f7f9;--blue:#2a6fdb;--orange:#d9822b;--green:#1d8a54;--red:#c23b3b}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#313b46;--card:#1b222a;--page:#12171d;--blue:#6ea4ff;--orange:#f0a95c;--green:#5ec795;--red:#f08080}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1200px;margin:0 auto;padding:32px 20px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:16px;margin:0 0 10px}
.sub{color:var(--soft);margin:0 0 20px}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;overflow-x:auto}
.wide{grid-column:1/-1}.tiles{display:flex;flex-wrap:wrap;gap:12px;margin-bottom:16px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 16px;min-width:130px}
.tile b{display:block;font-size:22px}.tile span{color:var(--soft);font-size:13px}.ok{color:var(--green)}.bad{color:var(--red)}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right}code{font:13px ui-monospace,monospace;word-break:break-all}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:12px system-ui,sans-serif}
"""


def write(folder: RunFolder) -> Path:
    """Write the report of a finished run; return its path."""
    settings = folder.read()
    page = render(settings["result"], folder.rounds())
    folder.report.write_text(page)
    return folder.report


def render(result: dict[str, Any], rounds: list[dict[str, Any]]) -> str:
    """The page, from what `demo --json` prints and the rounds' records."""
    metric = result["metric"]
    trained = [record for record in rounds if "members" in record]
    cards = [
        _card(
            f"Held-out {metric}, by round", _lines(_series(rounds, metric), "var(--blue)", metric)
        ),
        _card("Held-out loss, by round", _lines(_series(rounds, "loss"), "var(--orange)", "loss")),
        _card(
            "Members' weights (examples)",
            _bars(
                [(m["address"][:8] + "…", m["weight"]) for m in result["members"]], "var(--blue)"
            ),
        ),
        _card("Gas, by call", _bars(_without(result["gas"], "total"), "var(--orange)")),
        _card("Time, by phase (seconds)", _bars(_phases(result, trained), "var(--green)")),
        _card("Gas, by round", _lines(_gas(trained), "var(--orange)", "gas")),
        _card("Members", _members(result), wide=True),
        _card("Rounds", _rounds(trained), wide=True),
        _card("Receipts", _receipts(result), wide=True),
    ]
    value = result["metrics"].get(metric)
    tiles = [
        ("audit", result["audit"], "ok" if result["audit"] == "ok" else "bad"),
        (f"held-out {metric}", "n/a" if value is None else f"{value:.4f}", ""),
        ("rounds", str(result["rounds"]), ""),
        ("members", str(len(result["members"])), ""),
        ("left out", str(sum(m["status"] != "counted" for m in result["members"])), ""),
        ("gas in all", f"{result['gas']['total']:,}", ""),
        ("seconds", f"{result['seconds']['total']:.1f}", ""),
    ]
    shown = "".join(
        f'<div class="tile"><b class="{kind}">{escape(text)}</b><span>{escape(name)}</span></div>'
        for name, text, kind in tiles
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Tallystick: {escape(result['demo'])}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Tallystick run: {escape(result['demo'])}</h1>"
        f'<p class="sub">Every update committed before it was sent, every aggregate recomputed by the audit. '
        f"Engine {escape(result['engine'])}, ledger {escape(result['ledger'])}.</p>"
        f'<div class="tiles">{shown}</div><div class="grid">{"".join(cards)}</div></main></body></html>\n'
    )


def _card(title: str, body: str, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{body}</section>'


def _series(rounds: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    found = []
    for record in rounds:
        value = record["metrics"].get("evaluate", {}).get(name)
        if value is not None:
            found.append((float(record["round"]), float(value)))
    return found


def _gas(rounds: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(float(r["round"]), float(sum(r.get("gas", {}).values()))) for r in rounds]


def _without(values: dict[str, float], name: str) -> list[tuple[str, float]]:
    return [(key, value) for key, value in values.items() if key != name]


def _phases(result: dict[str, Any], rounds: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """The run's phases, with the rounds' share split into its own."""
    seconds = dict(result["seconds"])
    split: dict[str, float] = {}
    for record in rounds:
        for name, value in record.get("seconds", {}).items():
            if name != "total":
                split[name] = split.get(name, 0.0) + value
    shown = [("setup", seconds.get("setup", 0.0))]
    shown += [(f"rounds: {name}", value) for name, value in split.items()]
    return shown + [(name, seconds.get(name, 0.0)) for name in ("finality", "audit")]


def _lines(points: list[tuple[float, float]], colour: str, name: str) -> str:
    if not points:
        return "<p>No figures.</p>"
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = min(ys), max(ys)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    first, last = min(xs), max(*xs, min(xs) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    grid = []
    for step in range(5):
        value = low + (high - low) * step / 4
        y = at(first, value)[1]
        grid.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    every = max(1, round((last - first) / 10))
    for x in range(int(first), int(last) + 1, every):
        grid.append(
            f'<text x="{at(x, low)[0]:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{x}</text>'
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in points))
    dots = "".join(
        f'<circle cx="{at(*p)[0]:.1f}" cy="{at(*p)[1]:.1f}" r="3.5" fill="{colour}">'
        f"<title>round {p[0]:.0f}: {name} {p[1]:.6g}</title></circle>"
        for p in points
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)} by round">{"".join(grid)}'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}</svg>'
    )


def _bars(values: list[tuple[str, float]], colour: str) -> str:
    if not values:
        return "<p>No figures.</p>"
    row, label = 24, 140
    most = max(value for _, value in values) or 1.0
    shown = []
    for k, (name, value) in enumerate(values):
        y = k * row
        width = value / most * (WIDTH - label - 90)
        shown.append(
            f'<text x="{label - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{label}" y="{y + 4}" width="{max(width, 1):.1f}" height="{row - 8}" rx="3" fill="{colour}"/>'
            f'<text x="{label + width + 6:.1f}" y="{y + 16}">{_short(value)}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {row * len(values)}" role="img">{"".join(shown)}</svg>'


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _members(result: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td><code>{escape(m["address"])}</code></td><td class="n">{m["weight"] or ""}</td>'
        f'<td class="{"ok" if m["status"] == "counted" else "bad"}">{escape(m["status"])}</td>'
        f"<td>{escape('; '.join(m['reasons']))}</td></tr>"
        for m in result["members"]
    )
    head = '<tr><th>account</th><th class="n">weight</th><th>last round</th><th>left out</th></tr>'
    return f"<table>{head}{rows}</table>"


def _rounds(rounds: list[dict[str, Any]]) -> str:
    rows = []
    for record in rounds:
        left_out = "; ".join(
            f"{('0x' + e['member'][:8] + '…') if e['member'] else 'a node'}: {e['reason']}"
            for e in record.get("excluded", [])
        )
        rows.append(
            f'<tr><td class="n">{record["round"]}</td><td class="n">{len(record["members"])}</td>'
            f'<td class="n">{sum(record.get("gas", {}).values()):,}</td>'
            f'<td class="n">{record.get("seconds", {}).get("total", 0):.2f}</td>'
            f"<td><code>{record['model_root'][:24]}…</code></td><td>{escape(left_out)}</td></tr>"
        )
    head = (
        '<tr><th class="n">round</th><th class="n">members</th><th class="n">gas</th>'
        '<th class="n">seconds</th><th>model root</th><th>left out</th></tr>'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _receipts(result: dict[str, Any]) -> str:
    rows = [
        ("task", result["task_id"]),
        ("model root", result["model_root"]),
        ("ledger's head", f"block {result['head']['number']}, {result['head']['hash']}"),
        ("blobs re-hashed", str(result["blobs"])),
        ("audit it yourself", f"tallystick audit {result['run_dir']}"),
    ]
    shown = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>"
        for name, value in rows
    )
    return f"<table>{shown}</table>"

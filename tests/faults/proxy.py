"""A fault proxy between processes and a node: `python proxy.py PORT NODE_URL`. Standard library only.

What goes wrong is set while it runs: POST /control with an object of

    down        true: connections are closed without an answer
    slow        seconds before each answer
    twice       true: the node gets each transaction twice, and the caller the second answer
    lag         blocks: answers come from a node that is so many blocks behind
    cut         "bytes": half of the answer, then the connection is closed; "json": half of the answer, as if it were all
    status      an HTTP status instead of the answer
    shuffle     true: answers to several questions come in another order
    hold        hex digits: a transaction that contains them is never passed on, and its caller waits
    mute        hex digits: a transaction that contains them is passed on, and its caller waits for the answer
    share       part of the requests that are hit by lag, cut and status (default 1)

An empty object mends everything. GET /control tells how many requests were hit, and the transactions that were passed on, in order.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]

AT_BLOCK = {
    "eth_call": 1, "eth_estimateGas": 1, "eth_getBalance": 1, "eth_getCode": 1, "eth_getTransactionCount": 1,
}  # fmt: skip
"""Questions about the state, and which of their parameters is the block."""


class Proxy(ThreadingHTTPServer):
    """Passes requests on, and does what `faults` says to them."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, node: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.node = node
        self.faults: dict[str, Any] = {}
        self.hit = 0
        self.sent: list[str] = []
        self.random = random.Random(7)
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is no news."""

    def ask(self, body: Any) -> Any:
        """The node's answer to one request or a list of them."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.node, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def strikes(self, fault: str) -> bool:
        """Whether a fault hits this request."""
        with self.lock:
            share = self.faults.get("share", 1) if fault in ("lag", "cut", "status") else 1
            if not self.faults.get(fault) or self.random.random() >= share:
                return False
            self.hit += 1
            return True


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        """Tell what happened so far."""
        self.answer({"hit": self.server.hit, "sent": self.server.sent})

    def do_POST(self) -> None:
        """Take new faults, or pass a request on."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/control":
            self.server.faults = body
            self.answer({})
            return
        many = isinstance(body, list)
        try:
            found = self.passed_on(body if many else [body])
        except ConnectionAbortedError:
            self.close_connection = True
            return
        if found is not None:
            self.answer(found if many else found[0])

    def passed_on(self, requests: list[Request]) -> list[Any] | None:
        """Answers, or None where one was given that is no JSON."""
        proxy = self.server
        if proxy.strikes("down"):
            raise ConnectionAbortedError
        if proxy.strikes("slow"):
            time.sleep(proxy.faults["slow"])
        if proxy.strikes("status"):
            self.answer("<html>later</html>", proxy.faults["status"])
            return None
        if proxy.strikes("lag"):
            return lagging(proxy, requests, proxy.faults["lag"])
        found = []
        for request in requests:
            found.append(
                self.transaction(request) if is_transaction(request) else proxy.ask(request)
            )
        if len(found) > 1 and proxy.strikes("shuffle"):
            proxy.random.shuffle(found)
        return found

    def transaction(self, request: Request) -> Any:
        """Pass a transaction on: once, twice, or not at all."""
        proxy, raw = self.server, request["params"][0]
        if proxy.faults.get("hold", "nothing") in raw:
            self.wait()
        answer = proxy.ask(request)
        with proxy.lock:
            proxy.sent.append(raw)
        if proxy.strikes("twice"):
            answer = proxy.ask(request)
        if proxy.faults.get("mute", "nothing") in raw:
            self.wait()
        return answer

    def wait(self) -> None:
        """Keep the caller waiting for as long as the faults stay as they are, and then hang up."""
        proxy = self.server
        proxy.hit += 1
        faults = proxy.faults
        while proxy.faults is faults:
            time.sleep(0.05)
        raise ConnectionAbortedError

    def answer(self, found: Any, status: int = 200) -> None:
        """Send an answer, or half of it."""
        data = json.dumps(found).encode()
        how = self.path != "/control" and self.server.strikes("cut") and self.server.faults["cut"]
        shown = data[: len(data) // 2] if how else data
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(shown) if how == "json" else len(data)))
        self.end_headers()
        self.wfile.write(shown)
        self.close_connection = how == "bytes"


def is_transaction(request: Request) -> bool:
    return bool(request["method"] == "eth_sendRawTransaction")


def lagging(proxy: Proxy, requests: list[Request], blocks: int) -> list[Any]:
    """What a node answers that is some blocks behind. It passes transactions on."""
    newest = int(proxy.ask(request_for("eth_blockNumber"))["result"], 16)
    old = max(0, newest - blocks)
    return [behind(proxy, request, old) for request in requests]


def behind(proxy: Proxy, request: Request, old: int) -> Any:
    """What a node answers whose newest block is `old`."""
    method, parameters = request["method"], list(request.get("params", []))
    if method == "eth_blockNumber":
        return result(request, hex(old))
    if method in AT_BLOCK:
        at = AT_BLOCK[method]
        tag = parameters[at] if len(parameters) > at else "latest"
        if tag not in ("latest", "pending") and int(tag, 16) > old:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": "header not found"}}  # fmt: skip
        parameters[at:] = [hex(old) if tag in ("latest", "pending") else tag]
    elif method == "eth_getBlockByNumber":
        if parameters[0] in ("latest", "pending"):
            parameters[0] = hex(old)
        elif int(parameters[0], 16) > old:
            return result(request, None)
    elif method == "eth_getLogs":
        # As nodes do: what they do not have yet is left out without a word.
        if int(parameters[0]["fromBlock"], 16) > old:
            return result(request, [])
        last = min(old, int(parameters[0]["toBlock"], 16))
        parameters[0] = parameters[0] | {"toBlock": hex(last)}
    elif method == "eth_getTransactionReceipt":
        answer = proxy.ask(request)
        found = answer.get("result")
        return result(request, None) if found and int(found["blockNumber"], 16) > old else answer
    elif is_transaction(request):
        proxy.sent.append(parameters[0])
    return proxy.ask(request | {"params": parameters})


def request_for(method: str) -> Request:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": []}


def result(request: Request, value: object) -> Request:
    return {"jsonrpc": "2.0", "id": request["id"], "result": value}


if __name__ == "__main__":
    Proxy(int(sys.argv[1]), sys.argv[2]).serve_forever()

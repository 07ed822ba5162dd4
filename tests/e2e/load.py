"""Steady load from a process of its own: prints, as JSON, what answers each version gave, and all failures.

Usage: load.py PORT PATH STOP_FILE. Three kinds of clients: a connection for each request, connections kept
open without any retry, and slow requests.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from pathlib import Path

PORT, PATH, STOP = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
answers: Counter[str] = Counter()
failures: list[str] = []


def client(kind: str, path: str, keep: bool) -> None:
    connection = None
    while not STOP.exists():
        connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            said = reply.read().decode().split()[0]
        except (OSError, http.client.HTTPException, IndexError) as error:
            failures.append(f"{kind}: {error!r}")
            connection = None
            continue
        if reply.status == 200:
            answers[f"{kind} {said}"] += 1
        else:
            failures.append(f"{kind}: {reply.status}")
        if not keep:
            connection.close()
            connection = None


FRESH, KEPT, SLOW = ("fresh", PATH, False), ("kept", PATH, True), ("slow", f"{PATH}?sleep=1500ms", False)
threads = [threading.Thread(target=client, args=kind) for kind in [FRESH, KEPT, SLOW] * 3]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"answers": answers, "failures": failures}))

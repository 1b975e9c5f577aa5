"""What a page of keys costs the S3 on this machine, and how long a server with many keys takes to start.

    python -m benchmarks.s3_listing [keys, 100000 unless said]

Half of the keys are in one folder, half in 1,000 folders, and beside them are 1,000 folders with an object behind each.
"Index" is the processor time of finding a page's rows,
"request" that of the whole answer, XML included, in the server's process.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import boto3
import psutil
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from benchmarks import machine
from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.core.store import Store
from sagelocal.services.s3 import folders, listing, objects, pages, rows, tree, upkeep, writing
from sagelocal.services.s3.index import index

BUCKET = "listed"
FOLDERS = 1000
REPEATS = 15


def make_files(root: Path, keys: int) -> None:
    """Objects as somebody copies them in: files of one byte."""
    names = [f"flat/k{n:07d}" for n in range(keys // 2)]
    names += [f"deep/d{n % FOLDERS:04d}/k{n:07d}" for n in range(keys // 2)]
    names += [f"mixed/d{n:04d}{end}" for n in range(FOLDERS) for end in ("/k", "=")]
    for folder in {name.rpartition("/")[0] for name in names}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_bytes(b"x")


def cpu_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.thread_time()
        work()
        times.append((time.thread_time() - began) * 1e3)
    return median(times)


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def listed(context: Context, query: dict[str, str]) -> None:
    request = Request(EnvironBuilder(query_string={"list-type": "2", **query}).get_environ())
    listing.list_v2(context, BUCKET, request).get_data()


def main(keys: int) -> None:
    with tempfile.TemporaryDirectory(prefix="s3-listing-") as state:
        measure(Path(state), keys)


def measure(state: Path, keys: int) -> None:
    context = Context(state, "", Store(state / "state.db"))
    objects.create_bucket(context, BUCKET)
    make_files(tree.existing_bucket(context, BUCKET), keys)
    build = timed(lambda: upkeep.look(context))
    describe = timed(lambda: upkeep.read_new_files(context))
    again = timed(lambda: folders.scan_all(context, BUCKET))
    half = keys // 2
    asked = {
        "flat, first page": {"prefix": "flat/"},
        "flat, a page in the middle": {"prefix": "flat/", "start-after": f"flat/k{half // 2:07d}"},
        "flat, last page": {"prefix": "flat/", "start-after": f"flat/k{max(half - 1001, 0):07d}"},
        "1,000 common prefixes": {"prefix": "deep/", "delimiter": "/"},
        "1,000 folders and objects between": {"prefix": "mixed/", "delimiter": "/"},
        "a folder of the 1,000": {"prefix": "deep/d0500/", "delimiter": "/"},
        "across folders": {"prefix": "deep/", "start-after": "deep/d0500/"},
        "across 500 folders": {"prefix": "mixed/"},
        "delimiter other than /": {"prefix": "deep/", "delimiter": "/k"},
        "delimiter in every second key": {"prefix": "mixed/", "delimiter": "="},
        "delimiter in no key": {"prefix": "flat/", "delimiter": "|"},
        "MaxKeys=1": {"max-keys": "1"},
        "one whole key as prefix": {"prefix": f"flat/k{half // 2:07d}"},
    }
    figures: list[machine.Row] = []
    for name, query in asked.items():
        page = pages.Asked(query.get("prefix", ""), query.get("delimiter", ""), query.get("start-after", ""))
        count = int(query.get("max-keys", 1000)) + 1
        work = cpu_ms(lambda page=page, count=count: pages.page(context, BUCKET, page, count))
        whole = cpu_ms(lambda query=query: listed(context, query))
        figures.append((name, f"index {work:.2f} ms, request {whole:.2f} ms CPU", "request < 5 ms"))
    put = cpu_ms(lambda: writing.put(context, BUCKET, "flat/new", Request(EnvironBuilder(method="PUT").get_environ())))
    row = rows.Described("1-1-1", 1, 1.0, "0" * 32)
    noted = cpu_ms(lambda: rows.put(context, BUCKET, "flat/new", row, [rows.Change("flat/", "1-1", "1-1")]))
    figures.append(("PutObject of nothing", f"{put:.2f} ms CPU, of it the index {noted:.3f} ms", "index < 0.1 ms"))
    figures.append(("all rows made anew", f"{build:.1f} s CPU, in the background", ""))
    figures.append(("ETags of files that were copied in", f"{describe:.1f} s CPU, in the background", ""))
    figures.append(("a look at all folders", f"{again:.3f} s CPU", ""))
    index(context).close()
    context.store.close()
    began = time.perf_counter()
    server = lifecycle.ensure(state)
    start = time.perf_counter() - began
    try:
        s3 = boto3.client("s3", **server.client_settings())
        process = psutil.Process(server.pid)
        s3.list_objects_v2(Bucket=BUCKET, Prefix="flat/")
        before = sum(process.cpu_times()[:2])
        for _ in range(REPEATS):
            s3.list_objects_v2(Bucket=BUCKET, Prefix="flat/")
        served = (sum(process.cpu_times()[:2]) - before) / REPEATS * 1e3
    finally:
        lifecycle.stop(state)
    figures.append(("server start", f"{start:.1f} s", "< 2 s"))
    figures.append(("a page over HTTP, the server's process", f"{served:.1f} ms CPU", ""))
    machine.print_table(f"S3 listing, {keys:,} keys", figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

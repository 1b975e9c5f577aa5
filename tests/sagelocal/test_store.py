"""The store: transactions, who is told and when, lists that an index answers, and the state of an earlier version."""

import json
import random
import sqlite3
import threading
from contextlib import closing

import pytest

from sagelocal.core import listing
from sagelocal.core.errors import ValidationException
from sagelocal.core.selection import Selection, successor
from sagelocal.core.store import BY_NAME, AlreadyExists, Kind, NewerState, Store, crc
from tests.waiting import HANG

JOB = Kind[dict]("store-test-job", status="JobStatus", parent="Owner")
STEP = Kind[dict]("store-test-step", created="Start", parent=BY_NAME)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "state.db")
    yield made
    made.close()


def fill(store, count, seed=1):
    chosen = random.Random(seed)
    for number in range(count):
        body = {
            "JobName": f"Job-{chosen.randrange(10**9)}-{number}",
            "JobStatus": chosen.choice(["Completed", "Failed", "InProgress"]),
            "Owner": chosen.choice(["a", "b"]),
            "CreationTime": float(chosen.randrange(20)),
            "LastModifiedTime": float(chosen.randrange(20)),
        }
        store.insert(JOB, body["JobName"], body)


def test_what_a_transaction_changes_is_kept_together_or_not_at_all(store):
    with pytest.raises(RuntimeError), store.transaction():
        store.insert(JOB, "one", {"a": 1})
        assert store.get(JOB, "one") == {"a": 1}
        with store.transaction():
            store.insert(JOB, "two", {"a": 2})
        raise RuntimeError
    assert store.list(JOB) == []
    with store.transaction():
        store.insert(JOB, "one", {"a": 1})
        store.insert(JOB, "two", {"a": 2})
    assert store.list(JOB) == [{"a": 1}, {"a": 2}]


def test_a_name_that_is_taken_leaves_the_rest_of_a_transaction_as_it_was(store):
    store.put(JOB, "taken", {"a": 1})
    with store.transaction():
        store.put(JOB, "before", {})
        with pytest.raises(AlreadyExists):
            store.insert(JOB, "taken", {"a": 2})
        store.put(JOB, "after", {})
    assert [name for name, _ in store.items(JOB)] == ["taken", "before", "after"]
    assert store.get(JOB, "taken") == {"a": 1}


def test_watchers_and_listeners_hear_of_a_commit_in_order_and_never_of_what_was_taken_back(store):
    seen, heard = [], []
    store.watch(JOB, lambda *change: seen.append(change))
    store.listen(heard.extend)
    with pytest.raises(RuntimeError), store.transaction():
        store.put(JOB, "one", {"a": 1})
        raise RuntimeError
    with store.transaction():
        store.put(JOB, "one", {"a": 1})
        store.update(JOB, "one", {"a": 2})
        assert seen == heard == []
    store.delete(JOB, "one")
    assert seen == [("one", None, {"a": 1}), ("one", {"a": 1}, {"a": 2}), ("one", {"a": 2}, None)]
    assert [(change.version, change.text) for change in heard] == [(1, '{"a": 1}'), (2, '{"a": 2}'), (2, None)]


def test_other_threads_read_the_last_commit_while_a_transaction_is_open(store):
    store.put(JOB, "one", {"a": 1})
    read = []
    with store.transaction():
        store.update(JOB, "one", {"a": 2})
        reader = threading.Thread(target=lambda: read.append(store.get(JOB, "one")))
        reader.start()
        reader.join(HANG)
    assert read == [{"a": 1}]
    assert store.get(JOB, "one") == {"a": 2}


def test_a_change_wakes_those_who_wait_for_that_document(store):
    store.put(JOB, "one", {"a": 1})
    found = []
    waiter = threading.Thread(target=lambda: found.append(store.wait(JOB, "one", lambda body: body["a"] == 2, HANG)))
    waiter.start()
    store.put(JOB, "other", {"a": 2})
    store.update(JOB, "one", {"a": 2})
    waiter.join(HANG)
    assert found == [{"a": 2}]
    with pytest.raises(TimeoutError):
        store.wait(JOB, "one", lambda body: False, 0.01)
    with pytest.raises(KeyError):
        store.wait(JOB, "none", lambda body: True, 0.01)


def test_many_threads_change_one_document_without_losing_a_change(store):
    store.put(JOB, "count", {"n": 0})

    def count():
        for _ in range(25):
            store.change(JOB, "count", lambda body: body.update(n=body["n"] + 1))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert store.expect(JOB, "count") == {"n": 200}


@pytest.mark.parametrize("order", ["created", "modified", "status", "name"])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "filters",
    [{}, {"parent": "a"}, {"status": ("Failed",)}, {"contains": "jOB-1"}, {"prefix": "Job-2"}, {"created": (5.0, 9.0)}]
    + [{"modified": (5.0, 9.0), "status": ("Failed", "Completed"), "parent": "b"}],
)
def test_pages_have_each_document_once_and_in_order(store, order, descending, filters):
    fill(store, 120)
    ids = {body["JobName"]: number for number, body in enumerate(store.list(JOB))}
    created = {name: number for number, (name, _) in enumerate(sorted(store.items(JOB), key=lambda i: len(i[0])))}
    assert len(created) == len(ids) == 120
    pages, after = [], ()
    while True:
        wanted = Selection(**filters, order=order, descending=descending, limit=7, after=after)
        page = store.page(JOB, wanted)
        pages += [body for body, _ in page]
        if len(page) < 7:
            break
        after = page[-1][1]
    assert sorted(pages, key=lambda body: body["JobName"]) == sorted(
        (body for body in store.list(JOB) if passes(body, filters)), key=lambda body: body["JobName"]
    )
    member = {"created": "CreationTime", "modified": "LastModifiedTime", "status": "JobStatus", "name": "JobName"}[
        order
    ]
    assert [body[member] for body in pages] == sorted((body[member] for body in pages), reverse=descending)


def passes(body, filters):
    low, high = filters.get("created", (0, 99))
    since, until = filters.get("modified", (0, 99))
    return (
        body["Owner"] == filters.get("parent", body["Owner"])
        and body["JobStatus"] in filters.get("status", [body["JobStatus"]])
        and filters.get("contains", "").lower() in body["JobName"].lower()
        and body["JobName"].startswith(filters.get("prefix", ""))
        and low <= body["CreationTime"] <= high
        and since <= body["LastModifiedTime"] <= until
    )


@pytest.mark.parametrize(
    "wanted",
    [
        Selection(order=order, descending=descending, limit=10, after=after, **filters)
        for order, key in (("created", (5.0, 5)), ("modified", (5.0, 5)), ("name", ("n",)))
        for descending in (True, False)
        for after in ((), key)
        for filters in ({}, {"parent": "a"} if order == "created" else {}, {"contains": "x"})
    ]
    + [Selection(status=("Failed",), limit=10), Selection(order="status", limit=10, after=("Failed", 5.0, 5))]
    + [Selection(status=("Failed",), limit=10, after=(5.0, 5), descending=True)],
    ids=str,
)
def test_a_page_is_read_from_an_index_without_sorting(store, wanted):
    fill(store, 50)
    query, values = wanted.query(JOB, "body")
    with closing(sqlite3.connect(store._db.path)) as database:
        plan = " | ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values))
    assert "SEARCH" in plan and "TEMP B-TREE" not in plan and "SCAN" not in plan, plan


def test_what_has_one_of_several_statuses_is_found_without_reading_the_others(store):
    fill(store, 50)
    query, values = Selection(status=("InProgress", "Stopping")).query(JOB, "body")
    with closing(sqlite3.connect(store._db.path)) as database:
        plan = " | ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values))
    assert "by_status (kind=? AND status=?)" in plan, plan


def test_a_token_of_one_list_is_refused_by_another(store):
    fill(store, 20)
    asked = {"MaxResults": 5, "StatusEquals": "Failed"}
    first = listing.stored(store, JOB, asked, "Jobs", dict)
    again = listing.stored(store, JOB, asked | {"NextToken": first["NextToken"], "MaxResults": 50}, "Jobs", dict)
    everything = listing.stored(store, JOB, {"StatusEquals": "Failed", "MaxResults": 100}, "Jobs", dict)
    assert first["Jobs"] + again["Jobs"] == everything["Jobs"]
    assert "NextToken" not in again
    with pytest.raises(ValidationException, match="other filters"):
        listing.stored(store, JOB, {"NextToken": first["NextToken"]}, "Jobs", dict)
    for wrong in ("7", "???", "bnVsbA=="):
        with pytest.raises(ValidationException, match="NextToken"):
            listing.stored(store, JOB, {"NextToken": wrong}, "Jobs", dict)


def test_a_document_that_comes_meanwhile_moves_nothing_on_the_pages_to_come(store):
    fill(store, 20)
    everything = [body for body, _ in store.page(JOB, Selection(descending=True))]
    first = store.page(JOB, Selection(descending=True, limit=10))
    store.insert(JOB, "new", {"JobName": "new", "CreationTime": 99.0})
    second = store.page(JOB, Selection(descending=True, limit=10, after=first[-1][1]))
    assert [body for body, _ in first + second] == everything


def test_the_time_in_a_document_is_the_one_that_lists_go_by(store):
    store.put(STEP, "run/late", {"Start": 5.0})
    store.put(STEP, "run/early", {"Start": 1.0})
    store.put(STEP, "other/one", {"Start": 0.0})
    assert store.list(STEP, parent="run") == [{"Start": 1.0}, {"Start": 5.0}]
    store.put(STEP, "run/early", {"Start": 9.0})
    assert store.list(STEP, parent="run") == [{"Start": 5.0}, {"Start": 9.0}]


@pytest.mark.parametrize("prefix", ["a", "a/", "é", "\ud7ff", "\U0010ffff", "a\U0010ffff", "z%_*"])
def test_a_prefix_is_a_range_of_names(store, prefix):
    names = [prefix, prefix + "0", prefix + "\U0010ffff", prefix[:-1], "b", "A", "é", "zz"]
    for name in dict.fromkeys(names):
        if name:
            store.put(JOB, name, {"n": name})
    found = {body["n"] for body in store.list(JOB, prefix)}
    assert found == {name for name in names if name and name.startswith(prefix)}
    assert not successor(prefix) or successor(prefix) > prefix


def test_the_state_of_schema_1_is_taken_over_with_its_order_and_its_columns(tmp_path):
    with closing(sqlite3.connect(tmp_path / "state.db")) as old, old:
        old.execute("CREATE TABLE documents (kind TEXT, name TEXT, created REAL, body TEXT, PRIMARY KEY (kind, name))")
        old.execute("PRAGMA user_version=1")
        for name, created, body in [("b", 1.0, {"JobStatus": "Failed"}), ("a", 2.0, {"JobStatus": "Completed"})]:
            old.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (JOB, name, created, json.dumps(body)))
    for _ in range(2):  # the second one finds it converted
        store = Store(tmp_path / "state.db")
        assert [name for name, _ in store.items(JOB)] == ["b", "a"]
        assert store.list(JOB, status=["Failed"]) == [{"JobStatus": "Failed"}]
        store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        assert all(crc(body) == kept for body, kept in database.execute("SELECT body, crc FROM document"))
        database.execute("PRAGMA user_version=99")
    with pytest.raises(NewerState, match="newer version"):
        Store(tmp_path / "state.db")

"""``jupyter mlops`` experiments, artifacts, models, datasets, audit, gc and db."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from made_up_team import Mlops, Team, document

from jupyter_mlops.core.records import Batch, Param, Tag
from jupyter_mlops.store.migrate import HEAD
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Log, target_of

# --- experiments -----------------------------------------------------------------------------------------------------


def test_no_experiments_yet(mlops: Mlops) -> None:
    assert "jupyter mlops run" in mlops("experiments", "list").stderr


def test_experiments_are_listed_with_their_runs(mlops: Mlops, team: Team) -> None:
    rows = [line.split()[:2] for line in mlops("experiments", "list").stdout.splitlines()]
    assert rows[0] == ["name", "runs"]
    assert sorted(rows[1:]) == [["churn", "7"], ["odd", "2"]]
    assert [e["name"] for e in document(mlops("experiments", "list", "name = 'odd'", "--json"))] == ["odd"]


def test_an_experiment_is_renamed_deleted_and_restored(mlops: Mlops, team: Team) -> None:
    mlops("experiments", "rename", "odd", "even")
    mlops("experiments", "delete", "even")
    assert "even" not in mlops("experiments", "list").stdout
    assert "even" in mlops("experiments", "list", "--deleted").stdout
    mlops("experiments", "restore", "even")
    assert document(mlops("runs", "list", "-e", "even", "--json"))


def test_an_experiment_is_shared_and_handed_over(mlops: Mlops, team: Team) -> None:
    assert "shared with nobody" in mlops("experiments", "shares", "odd").stdout
    mlops("experiments", "share", "odd", "--to-group", "red", "--role", "write")
    told = mlops("experiments", "share", "odd", "--to-everyone").stdout
    assert told.endswith("; shared with everyone (read), group:red (write).\n")
    (share,) = document(mlops("experiments", "unshare", "odd", "--to-everyone", "--json"))
    assert (share["to_group"], share["role"]) == ("red", "write")
    assert "give exactly one" in mlops("experiments", "share", "odd", code=2).stderr
    assert "not shared with" in mlops("experiments", "unshare", "odd", "--to-user", "bo", code=1).stderr
    assert mlops("experiments", "transfer", "odd", "group:red").stdout == "odd now belongs to group:red.\n"
    assert "odd belongs to group:red; shared" in mlops("experiments", "shares", "odd").stdout
    assert document(mlops("experiments", "transfer", "odd", "bo", "--json"))["owner"] == "bo"


def test_who_leaves_hands_over_and_who_is_renamed_stays(mlops: Mlops, team: Team) -> None:
    owner = team.tracker.experiments.find("churn").owner
    planned = document(mlops("people", "offboard", owner, "--to", "group:red", "--dry-run", "--json"))
    assert (planned["experiments"], planned["runs"], planned["dry_run"]) == (2, 9, True)
    assert "would be handed over" in mlops("people", "offboard", owner, "--to", "group:red", "--dry-run").stdout
    assert (
        "2 experiments with 9 runs"
        in mlops("people", "offboard", owner, "--to", "group:red", input="n\n", code=1).stderr
    )
    told = mlops("people", "offboard", owner, "--to", "group:red", "--yes").stdout
    assert told == f"{owner} to group:red: 2 experiments, 9 runs were handed over.\n"
    done = document(mlops("people", "rename", "group:red", "group:rouge", "--yes", "--json"))
    assert (done["experiments"], done["to"]) == (2, "group:rouge")
    assert "Nothing here is of nobody" in mlops("people", "rename", "nobody", "somebody", "--yes").stderr
    assert "a group and a user" in mlops("people", "rename", "ann", "group:red", "--yes", code=2).stderr


def test_access_tokens_are_made_listed_and_revoked(mlops: Mlops, team: Team) -> None:
    assert "no access tokens" in mlops("access-token", "list").stderr
    made = mlops("access-token", "create", "nightly", "--owner", "group:red", "--scope", "read", "--days", "30")
    assert made.stdout.startswith("mlops_access_")
    assert "Shown only now" in made.stderr
    listed = mlops("access-token", "list").stdout
    assert "nightly" in listed
    assert "never" in listed
    assert made.stdout.strip() not in listed
    (token,) = document(mlops("access-token", "list", "--owner", "group:red", "--json"))
    assert "secret" not in token or token["secret"] is None
    mlops("access-token", "revoke", token["token_id"], "--yes")
    assert document(mlops("access-token", "list", "--json")) == []
    assert "does not exist" in mlops("access-token", "revoke", token["token_id"], "--yes", code=1).stderr


def test_the_record_goes_elsewhere_with_its_seals(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    mlops("models", "register", "calm-heron-7:model", "churn")
    mlops("audit", "export", "--output", str(tmp_path / "audit.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["position"] for line in lines] == list(range(1, len(lines) + 1))
    head = document(mlops("audit", "head", "--json"))
    assert (lines[-1]["position"], lines[-1]["digest"]) == (head["position"], head["digest"])
    later = mlops("audit", "export", "--after", str(len(lines) - 1)).stdout
    assert [json.loads(line)["position"] for line in later.splitlines()] == [len(lines)]


# --- artifacts -------------------------------------------------------------------------------------------------------


def test_artifacts_are_listed_by_folder(mlops: Mlops, team: Team) -> None:
    top = mlops("artifacts", "list", "calm-heron-7").stdout.splitlines()[1:]
    assert [line.split()[0] for line in top] == ["figures/", "model/", "notebook/"]
    below = mlops("artifacts", "list", "calm-heron-7", "model/").stdout
    assert "model/weights.bin" in below
    assert "1.5 kB" in below
    everything = document(mlops("artifacts", "list", "calm-heron-7", "--recursive", "--json"))
    assert len(everything) == 5
    assert "no folder 'nowhere'" in mlops("artifacts", "list", "calm-heron-7", "nowhere", code=1).stderr


def test_artifacts_are_fetched(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    place = mlops("artifacts", "get", "calm-heron-7", "figures/roc.png", "-o", "here").stdout.strip()
    assert (tmp_path / place).read_bytes() == b"png"
    assert mlops("artifacts", "get", "calm-heron-7", "figures/roc.png", "-o", "-").stdout_bytes == b"png"
    mlops("artifacts", "get", "calm-heron-7", "-o", "everything")
    assert len([path for path in (tmp_path / "everything").rglob("*") if path.is_file()]) == 5


@pytest.mark.parametrize("output", ["-", "here"])
def test_an_artifact_that_is_not_there_is_an_error(mlops: Mlops, team: Team, output: str) -> None:
    assert "nothing.txt" in mlops("artifacts", "get", "calm-heron-7", "nothing.txt", "-o", output, code=1).stderr


# --- models ----------------------------------------------------------------------------------------------------------


def test_no_models_yet(mlops: Mlops) -> None:
    assert "models register" in mlops("models", "list").stderr


def test_a_model_is_registered_aliased_and_fetched(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    said = mlops("models", "register", "brave-otter-418", "churn", "--alias", "production", "--reason", "best").stdout
    assert "churn version 1" in said
    assert "churn@production is now version 1" in said
    mlops("models", "register", "calm-heron-7:model", "churn", "--description", "the runner-up")
    listed = mlops("models", "list").stdout
    assert "@production → 1" in listed
    shown = mlops("models", "show", "churn").stdout
    assert "brave-otter-418" in shown
    assert "the runner-up" in shown
    place = mlops("models", "get", "churn@production", "served").stdout.strip()
    assert (tmp_path / place / "MLmodel").exists()
    one = mlops("models", "show", "models:/churn/2").stdout
    assert "weights.bin" in one
    assert document(mlops("models", "get", "churn", "--json"))["version"]["version"] == 2


def test_who_uses_a_model_is_told_and_its_card_is_written(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    mlops("models", "register", "brave-otter-418", "churn", "--alias", "production")
    assert "Nobody has loaded churn" in mlops("models", "consumers", "churn").stderr
    mlops("models", "get", "churn@production", "served")
    mlops("models", "get", "churn/1", "again")
    assert "@production" in mlops("models", "consumers", "churn").stdout
    seen = document(mlops("models", "consumers", "churn", "--json"))
    assert {(each["version"], each.get("reference", ""), each["loads"]) for each in seen} == {
        (1, "@production", 1),
        (1, "", 1),
    }
    assert "# churn version 1" in mlops("models", "card", "churn@production").stdout
    (tmp_path / "card.md").write_text("# Ours\n")
    assert mlops("models", "card", "churn", "--set", "card.md").stdout == "# Ours\n"
    assert document(mlops("models", "card", "churn", "--json"))["text"] == "# Ours\n"
    assert "# churn version 1" in mlops("models", "card", "churn/1", "--set", "-", input="").stdout


def test_webhooks_are_created_listed_and_deleted(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn")
    assert "no webhooks" in mlops("webhooks", "list").stderr
    url = "https://hooks.example.org/services/hidden"
    made = mlops("webhooks", "create", url, "--model", "churn", "--event", "alias.moved")
    assert made.stdout.startswith("whsec_")
    [hook] = document(mlops("webhooks", "list", "--json"))
    listed = mlops("webhooks", "list").stdout
    assert hook["webhook_id"] in listed
    assert "hidden" not in listed
    assert "told nothing" in mlops("webhooks", "deliveries", hook["webhook_id"]).stderr
    mlops("models", "alias", "churn", "production", "1")
    assert "alias.moved" in mlops("webhooks", "deliveries", hook["webhook_id"]).stdout
    assert document(mlops("webhooks", "deliveries", hook["webhook_id"], "--json"))[0]["state"] == "waiting"
    mlops("webhooks", "delete", hook["webhook_id"], "--yes")
    assert document(mlops("webhooks", "list", "--json")) == []
    assert "mailto" in mlops("webhooks", "create", "ftp://x", code=2).stderr


def test_an_alias_moves_and_remembers(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn", "--alias", "production", "--reason", "first")
    mlops("models", "register", "calm-heron-7", "churn")
    assert "it was version 1" in mlops("models", "alias", "churn", "production", "latest", "--reason", "newer").stdout
    mlops("models", "alias", "churn", "production", "--delete", "--reason", "none is good")
    moves = mlops("models", "history", "churn", "production").stdout
    assert [line.split()[-1] for line in moves.splitlines()[1:]] == ["first", "newer", "good"]
    assert [each["move"].get("version") for each in document(mlops("models", "history", "churn", "--json"))] == [
        1,
        2,
        None,
    ]
    assert "never set" in mlops("models", "history", "churn", "canary").stderr


@pytest.mark.parametrize("words", [["production"], ["production", "1", "--delete"]])
def test_an_alias_needs_a_version_or_delete(mlops: Mlops, team: Team, words: list[str]) -> None:
    mlops("models", "register", "brave-otter-418", "churn")
    mlops("models", "alias", "churn", *words, code=2)


def test_a_model_is_restricted_and_handed_over(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "calm-heron-7", "churn")
    owner = document(mlops("models", "show", "churn", "--json"))["model"]["owner"]
    assert mlops("models", "restrict", "churn").stdout == f"churn is for {owner}.\n"
    assert document(mlops("models", "show", "churn", "--json"))["model"]["restricted"] is True
    assert "restricted" not in document(mlops("models", "restrict", "churn", "--off", "--json"))
    assert mlops("models", "transfer", "churn", "group:red").stdout == "churn now belongs to group:red.\n"
    assert document(mlops("models", "transfer", "churn", "bo", "--json")) == {"name": "churn", "owner": "bo"}


def test_a_run_with_several_models_asks_which(mlops: Mlops, team: Team) -> None:
    team.model(team.runs["brave-otter-418"], "second")
    said = mlops("models", "register", "brave-otter-418", "churn", code=2).stderr
    assert "brave-otter-418:model, brave-otter-418:second" in said
    assert "no model" in mlops("models", "register", "sad-newt-1", "churn", code=2).stderr


def test_models_are_deleted_only_when_agreed(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn")
    mlops("models", "register", "calm-heron-7", "churn", "--alias", "production")
    assert "--yes" in mlops("models", "delete", "churn/1", code=1, input="n\n").stderr
    mlops("models", "delete", "churn/1", code=1, input="")
    mlops("models", "delete", "churn/1", input="y\n")
    mlops("models", "delete", "churn", "--yes", code=1)
    mlops("models", "alias", "churn", "production", "--delete")
    mlops("models", "delete", "churn", "--yes")
    assert document(mlops("models", "list", "--json")) == []


@pytest.mark.parametrize(("name", "code"), [("nothing", 1), ("nothing/1", 1), ("a/b/c", 2), ("", 2)])
def test_an_unknown_model_is_an_error(mlops: Mlops, team: Team, name: str, code: int) -> None:
    assert mlops("models", "show", name, code=code).stderr.startswith("Error: ")


# --- data sets, audit, collection ------------------------------------------------------------------------------------


def test_what_used_a_data_set(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn")
    text = mlops("datasets", "uses", "abc123").stdout
    assert "calm-heron-7" in text
    assert "churn/1" in text
    assert len(document(mlops("datasets", "uses", "abc123", "--json"))) == 2
    assert "Nothing used" in mlops("datasets", "uses", "fff").stderr


def test_audit_tells_who_did_what(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn", "--alias", "production")
    entries = document(mlops("audit", "--json"))
    assert entries[0]["number"] == max(entry["number"] for entry in entries)
    assert entries[0]["action"] in mlops("audit", "--limit", "1").stdout
    older = document(mlops("audit", "--json", "--before", str(entries[0]["number"])))
    assert [entry["number"] for entry in older] == [entry["number"] for entry in entries[1:]]


def test_gc_removes_what_was_deleted_and_nothing_else(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "brave-otter-418", "churn")
    mlops("runs", "delete", "brave-otter-418", "calm-heron-7")
    would = document(mlops("gc", "--dry-run", "--json"))
    assert would["runs"] == 2
    assert document(mlops("gc", "--dry-run", "--older-than", "30d", "--json"))["runs"] == 0
    assert "Would remove 0 experiments, 2 runs" in mlops("gc", code=1, input="n\n").stderr
    assert document(mlops("gc", "--yes", "--json"))["runs"] == 2
    assert "brave-otter-418" not in mlops("runs", "list", "--deleted").stdout
    assert "(removed)" in mlops("models", "show", "churn").stdout
    mlops("models", "get", "churn/1", "still-there")


def test_the_record_is_what_was_published_or_it_is_said_where_it_breaks(
    mlops: Mlops, team: Team, home: Path, tmp_path: Path
) -> None:
    mlops("models", "register", "brave-otter-418", "churn", "--alias", "production")
    head = mlops("audit", "head").stdout
    (tmp_path / "heads.txt").write_text(head)
    mlops("models", "alias", "churn", "production", "--delete")
    assert "what was sealed" in mlops("audit", "verify", "heads.txt").stdout
    assert "no seal covers 2" in mlops("audit", "verify").stderr.lower()
    (tmp_path / "heads.txt").write_text(head + mlops("audit", "head").stdout)
    assert document(mlops("audit", "verify", "-", "--json", input=(tmp_path / "heads.txt").read_text()))["intact"]
    with sqlite3.connect(home / "mlops.db") as database:
        database.execute("update audit set actor = 'eve' where action = 'alias.set'")
    assert "was changed" in mlops("audit", "verify", "heads.txt", code=1).stdout
    assert "line 1" in mlops("audit", "verify", "-", input="nonsense", code=2).stderr


@pytest.mark.parametrize("age", ["30", "x", "-1d", "1 year"])
def test_an_age_that_is_none_is_usage(mlops: Mlops, age: str) -> None:
    assert "30d" in mlops("gc", "--older-than", age, "--dry-run", code=2).stderr


# --- the database ----------------------------------------------------------------------------------------------------


def test_status_of_no_database_makes_none(mlops: Mlops, home: Path) -> None:
    assert "none yet" in mlops("db", "status").stdout
    assert not home.exists()


def test_upgrade_makes_a_database(mlops: Mlops, home: Path) -> None:
    assert f"now has schema {HEAD}" in mlops("db", "upgrade").stdout
    assert "already" in mlops("db", "upgrade").stdout
    facts = document(mlops("db", "status", "--json"))
    assert facts["state"] == "up to date"
    assert facts["schema"] == HEAD
    assert facts["artifacts"] == str(home / "artifacts")


@pytest.mark.slow
def test_a_server_is_set_up_and_upgraded_on_request(mlops: Mlops, postgres_url: str, tmp_path: Path) -> None:
    on_server = ("--url", postgres_url, "--artifacts", str(tmp_path / "files"))
    assert document(mlops(*on_server, "db", "status", "--json"))["state"].startswith("empty")
    assert f"now has schema {HEAD}" in mlops(*on_server, "db", "upgrade").stdout
    assert "up to date" in mlops(*on_server, "db", "status").stdout
    assert document(mlops(*on_server, "runs", "list", "--json")) == []


def test_a_newer_database_is_refused_with_a_sentence(mlops: Mlops, home: Path) -> None:
    mlops("db", "upgrade")
    with sqlite3.connect(home / "mlops.db") as database:
        database.execute("update mlops_schema set version_num = '9999'")
    assert "newer" in mlops("db", "status").stdout
    for words in (["db", "upgrade"], ["runs", "list"]):
        said = mlops(*words, code=1).stderr
        assert said.startswith("Error: ")
        assert "newer" in said


def test_the_url_option_names_another_store(mlops: Mlops, home: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    mlops("--url", url, "--artifacts", str(tmp_path / "files"), "runs", "list")
    assert (tmp_path / "other.db").exists()
    assert not home.exists()
    facts = document(mlops("--url", url, "db", "status", "--json"))
    assert (facts["database"], facts["artifacts"]) == (url, str(tmp_path / "files"))


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite:////no/such/folder/mlops.db"])
def test_a_wrong_url_is_usage(mlops: Mlops, url: str) -> None:
    assert mlops("--url", url, "runs", "list", code=2).stderr.startswith("Error: ")


def test_what_was_logged_but_not_stored_is_told(mlops: Mlops, team: Team, home: Path) -> None:
    run = team.runs["calm-heron-7"]
    facts = document(mlops("db", "status", "--json"))
    assert (facts["waiting"], facts["refused"], facts["damaged"]) == (0, [], [])
    writer = SpoolWriter(home / "spool", target=target_of(team.tracker.url))
    writer.append(Log(run.run_id, Batch(params=(Param("lr", 7, "7"),))))
    writer.append(Log(run.run_id, Batch(tags=(Tag("late", "yes"),))))
    elsewhere = SpoolWriter(home / "spool", target=target_of("postgresql://elsewhere/mlops"))
    elsewhere.append(Log(run.run_id, Batch(tags=(Tag("late", "yes"),))))
    assert document(mlops("db", "status", "--json"))["waiting"] == 2
    # Each command that opens the store applies what waits for it.
    mlops("runs", "list")
    writer.close()
    elsewhere.close()
    facts = document(mlops("db", "status", "--json"))
    assert facts["waiting"] == 0
    (refused,) = facts["refused"]
    assert refused["run_id"] == run.run_id
    assert refused["entry"] == "log"
    assert Path(refused["file"]).is_file()
    result = mlops("db", "status")
    assert refused["error"] in result.stdout
    assert refused["file"] in result.stderr
    assert "the store refused 1 of the entries" in mlops("runs", "show", run.run_id).stdout


def test_the_database_goes_through_a_file(mlops: Mlops, team: Team, tmp_path: Path) -> None:
    mlops("models", "register", "calm-heron-7", "churn")
    before = document(mlops("db", "digest", "--json"))
    dumped = document(mlops("db", "dump", "backup", "--json"))
    assert (dumped["digest"], dumped["rows"]) == (before["digest"], before["rows"])
    other = f"sqlite:///{tmp_path / 'other.db'}"
    place = document(mlops("artifacts", "verify", "--json"))["artifacts"]
    folder = str(Path(place).parent)
    loaded = mlops("--url", other, "--artifacts", folder, "db", "load", "backup").stdout
    assert f"{before['rows']:,} rows from backup. Its files are expected in {folder}." in loaded
    again = document(mlops("--url", other, "db", "digest", "--json"))["tables"]
    assert {name for name in again if again[name] != before["tables"][name]} == {"setting"}
    mlops("--url", other, "models", "get", "churn/1", "there")
    assert "not empty" in mlops("--url", other, "db", "load", "backup", code=2).stderr
    nowhere = f"sqlite:///{tmp_path / 'nowhere.db'}"
    assert "no database" in mlops("--url", nowhere, "db", "dump", "backup2", code=1).stderr
    assert before["digest"] in mlops("db", "digest").stdout


def test_files_that_were_changed_or_lost_are_found(mlops: Mlops, team: Team) -> None:
    mlops("models", "register", "calm-heron-7", "churn")
    whole = document(mlops("artifacts", "verify", "--json"))
    assert (whole["damaged"], "all are what was stored" in mlops("artifacts", "verify").stdout) == ([], True)
    files = {path.read_bytes(): path for path in Path(whole["artifacts"]).rglob("*") if path.is_file()}
    files[b"png"].unlink()
    weights = next(path for content, path in files.items() if len(content) == 1500)
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    said = mlops("artifacts", "verify", code=1).stdout
    assert "2 are damaged" in said
    assert "run calm-heron-7: figures/roc.png" in said
    assert "churn 1: weights.bin" in said
    found = document(mlops("artifacts", "verify", "--json", code=1))["damaged"]
    assert sorted(each["why"].partition(" ")[0] for each in found) == ["its", "the"]


def test_the_doctor_looks_at_what_is_used(mlops: Mlops, team: Team) -> None:
    found = {each["what"]: each["state"] for each in document(mlops("doctor", "--json"))}
    assert (found["database"], found["files"], found["spool"]) == ("good", "good", "good")
    said = mlops("--url", "http://127.0.0.1:1", "doctor", code=1).stdout
    assert said.startswith("problem  service")
    assert "see whether it runs" in said


def test_a_link_to_the_file_of_tokens_goes_on_leading_to_it(mlops: Mlops, tmp_path: Path) -> None:
    file, link = tmp_path / "tokens.json", tmp_path / "link.json"
    link.symlink_to(file)
    for user, place in (("ann", link), ("bea", file), ("eve", link)):
        mlops("token", "create", user, "--file", str(place))
    mlops("token", "revoke", "--file", str(link), "--user", "bea", "--yes")
    assert link.is_symlink()
    listed = document(mlops("token", "list", "--file", str(file), "--json"))
    assert [grant["user"] for grant in listed] == ["ann", "eve"]
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in mlops("token", "create", "ann", "--file", str(tmp_path / "pipe"), code=2).stderr

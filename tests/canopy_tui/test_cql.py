"""``canopy cql``: every statement that it prints runs, and it runs nothing that writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from helpers.logs import log, log_topology, make_run, open_journal, write_run
from helpers.nodes import fresh_keyspace
from helpers.syncing import drain

from canopy_tui.cli import canopy
from canopy_tui.cli.cql import answer_lines
from wal.cassandra.cql import Answer, NotReadOnly, read_only
from wal.settings import Settings

TRICKY = 'it\'s [a] "metric" / é'


def cql(*arguments: str) -> Result:
    return CliRunner().invoke(canopy, ["cql", *arguments])


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM t",
        "  select v from t where k = 'a;b -- c' ;  ",
        "DESCRIBE KEYSPACE cascor;",
        "desc tables",
        "-- a remark\nSELECT 1 FROM t; -- another",
        '/* ; */ SELECT "odd;name" FROM t // end',
        "SELECT v FROM t WHERE k = $$a;b'c$$",
    ],
)
def test_reading_is_allowed(statement: str) -> None:
    plain = read_only(statement)
    assert re.match(r"(?i)select|desc", plain)
    assert not plain.endswith(";")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO t (k) VALUES (1)", "only SELECT and DESCRIBE"),
        ("update t set v = 1 where k = 1", "only SELECT and DESCRIBE"),
        ("DELETE FROM t", "not 'DELETE'"),
        ("TRUNCATE t", "not 'TRUNCATE'"),
        ("DROP KEYSPACE cascor", "not 'DROP'"),
        ("BEGIN BATCH DELETE FROM t; APPLY BATCH", "one statement at a time"),
        ("SELECT * FROM t; DROP TABLE t", "one statement at a time"),
        ("/* SELECT */ DROP TABLE t", "not 'DROP'"),
        ("-- SELECT\nDROP TABLE t", "not 'DROP'"),
        ("SELECTED", "only SELECT and DESCRIBE"),
        ("SELECT_ FROM t", "only SELECT and DESCRIBE"),
        ("(SELECT * FROM t)", "only SELECT and DESCRIBE"),
        ("SELECT * FROM t WHERE k = 'open", "without an end"),
        ("SELECT /* open", "without an end"),
        ("", "there is no statement"),
        (" ; ", "there is no statement"),
    ],
)
def test_everything_else_is_refused_with_a_sentence(statement: str, said: str) -> None:
    with pytest.raises(NotReadOnly, match=re.escape(said)):
        read_only(statement)
    result = cql("-e", statement)  # before anything is connected
    assert result.exit_code != 0
    assert "Traceback" not in result.output


def test_either_a_run_or_a_statement() -> None:
    assert "give a RUN" in cql().output
    assert "give a RUN" in cql("@last", "-e", "SELECT 1").output


def test_without_a_cassandra_a_statement_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_settings(monkeypatch, tmp_path, tmp_path / "log")
    result = cql("-e", "SELECT * FROM training_runs")
    assert result.exit_code == 1
    assert "canopy cassandra up" in result.output


def test_a_table_is_aligned_and_harmless() -> None:
    rows = ((1, "\x1b[31mred\nx", None), (22, "é" * 100, b"\x00\xff"))
    lines = answer_lines(Answer(("a", "b\x1b[0m", "c"), rows))
    assert lines[0].split() == ["a", "|", "b", "|", "c"]
    assert lines[2] == "1  | red x" + " " * 43 + " | null"
    assert "…" in lines[3]
    assert lines[3].endswith("| 0x00ff")
    assert lines[4] == "(2 rows)"
    assert all("\x1b" not in line for line in lines)
    assert "é" * 100 in "\n".join(answer_lines(Answer(("b",), (("é" * 100,),)), whole=True))
    assert answer_lines(Answer(("n",), ((1,),), more=True))[-1] == "(1 row; there are more (--limit))"


# -- on a real node ---------------------------------------------------------------------------------


def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log_dir: Path) -> None:
    """No settings file, no managed node, and this log directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANOPY_DIR", str(log_dir))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def world(cassandra: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Settings]]:
    """Two runs in a log directory and in a keyspace, on each server in turn."""
    log_dir = tmp_path_factory.mktemp("log")
    write_run(log_dir, [{TRICKY: 1.0 / n} for n in range(1, 1_300)], make_run(name="tricky"))
    journal = open_journal(log_dir, make_run(name="grown"))
    for step in range(1, 30):
        log(journal, step, {"val/loss": 1.0 / step, "epoch": float(step)})
    log_topology(journal, 30, {"input_size": 2, "output_size": 1, "hidden_units": [{"weights": [1.0]}]})
    journal.close("done", 0)
    with fresh_keyspace(cassandra) as settings:
        drain(log_dir, settings)
        yield log_dir, settings


@pytest.fixture
def shipped(world: tuple[Path, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of that keyspace, which the environment names."""
    log_dir, settings = world
    no_settings(monkeypatch, tmp_path, log_dir)
    monkeypatch.setenv("CASCOR_CASSANDRA_CONTACT_POINTS", settings.contact_points[0])
    monkeypatch.setenv("CASCOR_CASSANDRA_PORT", str(settings.port))
    monkeypatch.setenv("CASCOR_CASSANDRA_KEYSPACE", settings.keyspace)
    return settings


def printed_statements(output: str) -> dict[str, str]:
    """The printed statements by the remark over each."""
    found = re.findall(r"^-- ([^\n]*)\n(SELECT[^;]*);$", output, re.MULTILINE)
    assert output.count("SELECT") == len(found)
    return dict(found)


def test_every_statement_that_is_printed_runs(shipped: Settings) -> None:
    output = cql("grown").output
    assert "-- grown (" in output
    statements = printed_statements(output)
    answers: dict[str, str] = {}
    for remark, statement in statements.items():
        result = cql("--wide", "-e", statement + ";")
        assert result.exit_code == 0, result.output
        assert not result.output.rstrip().endswith("(0 rows)"), remark
        answers[remark.partition(" ")[0] + " " + remark.split()[1]] = result.output
    assert len(answers) == len(statements) == 9
    assert "(10 rows)" in answers["the latest"]
    assert "(1 row)" in answers["one step"]
    assert "(30 rows)" in answers["one metric"]
    assert "values['val/loss']" in statements["one metric (chunk 0 is the only one)"]
    assert "0x" in answers["the body"]


def test_a_tricky_name_is_quoted_and_the_newest_chunk_is_named(shipped: Settings) -> None:
    statements = printed_statements(cql("tricky").output)
    [metric] = [statement for remark, statement in statements.items() if remark.startswith("one metric")]
    assert "chunks 0 … 1 hold all" in next(remark for remark in statements if remark.startswith("one metric"))
    result = cql("-e", metric)
    assert result.exit_code == 0
    assert "(276 rows)" in result.output  # seqs 1,024 to 1,299


def test_describe_and_the_seeds_own_questions(shipped: Settings) -> None:
    described = cql("-e", "DESCRIBE TABLE training_metrics").output
    assert "CREATE TABLE" in described
    assert "PRIMARY KEY ((run_id, stream, chunk), seq)" in described
    assert "training_runs" in cql("-e", "DESCRIBE TABLES").output
    assert "(2 rows)" in cql("-e", "SELECT name, status, final_loss FROM training_runs").output


def test_a_limit_says_that_there_is_more(shipped: Settings) -> None:
    output = cql("-e", "SELECT seq FROM training_metrics", "--limit", "5").output
    assert output.rstrip().endswith("(5 rows; there are more (--limit))")


def test_a_wrong_statement_is_a_sentence(shipped: Settings) -> None:
    for statement, said in (
        ("SELECT nothing FROM nowhere", "table nowhere does not exist"),
        ("SELECT nothing FROM training_runs", "ndefined column name nothing"),
        ("SELECT * FROM nowhere.t", "keyspace nowhere does not exist"),
        ("SELECT FROM WHERE", "no viable alternative at input 'FROM'"),
    ):
        result = cql("-e", statement)
        assert result.exit_code != 0
        assert "rejected the statement" in str(result.exception)
        assert said in str(result.exception)
        assert "canopy cassandra schema" not in str(result.exception)


def test_tables_that_were_not_made_yet(shipped: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCOR_CASSANDRA_KEYSPACE", f"{shipped.keyspace}_late")
    assert "canopy cassandra schema" in str(cql("-e", "SELECT name FROM training_runs").exception)


def test_the_cql_of_the_readme_runs(shipped: Settings) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    statements = [text.strip() for text in block.split(";") if text.strip()]
    assert len(statements) == 3
    for statement in statements:
        ours = statement.replace("cascor.", f"{shipped.keyspace}.").replace("…", str(UUID(int=0)))
        result = cql("-e", ours)
        assert result.exit_code == 0, result.exception


def test_an_unknown_run_is_a_sentence(shipped: Settings) -> None:
    assert "there is no run 'nobody'" in str(cql("nobody").exception)


def test_another_machine_prints_the_same(
    shipped: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = cql("grown").output
    monkeypatch.setenv("CANOPY_DIR", str(tmp_path / "empty"))
    assert cql("grown").output == here

"""Settings: every key of the seed, from the file and from the environment; what is wrong is named."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from wal import settings_parse
from wal.cassandra import noderecord
from wal.settings import Endpoint, Secret, Settings, SettingsError, check_variables, load, resolve

ROOT = Path(__file__).parents[2]

# The two files of the seed's "Configuration" section, word for word but for their remarks.
SEED_CASSANDRA_CONFIG = """
cassandra:
  enabled: true
  contact_points:
    - localhost
  port: 9042
  auth_provider:
    username: cassandra
    password: cassandra
  keyspace: cascor
  pool_size: 10
  connect_timeout: 10
  request_timeout: 10
  batch_size: 100
  flush_interval: 5  # seconds
"""
SEED_APP_CONFIG = """
application:
  name: other things that are not ours
backend:
  redis: {url: "redis://localhost"}
  cassandra:
    enabled: false
    contact_points:
      - localhost
      - cassandra-node-2
    port: 9042
    auth_provider:
      enabled: true
      username: "${CASSANDRA_USERNAME}"
      password: "${CASSANDRA_PASSWORD}"
    keyspace: cascor
    pool_size: 10
    connect_timeout: 10
    request_timeout: 10
    batch_size: 100
    flush_interval: 5
    consistency:
      write: ONE
      read: ONE
    ttl:
      metrics: 2592000
      topology: 7776000
      runs: 0
"""


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    return tmp_path


def put(cwd: Path, text: str, name: str = "cassandra_config.yaml") -> None:
    (cwd / "conf" / name).write_text(text, encoding="utf-8")


def read(cwd: Path, text: str, **env: str) -> Settings:
    put(cwd, f"cassandra:\n{text}")
    return load({"XDG_CONFIG_HOME": str(cwd), **env}, cwd)


def refused(cwd: Path, text: str, **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(cwd, text, **env)
    return str(caught.value)


# -- files ------------------------------------------------------------------------------------------


def test_without_a_file_everything_is_default_and_nothing_is_explicit(tmp_path: Path) -> None:
    settings = load({"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)
    assert settings == Settings()
    assert not settings.explicit


def test_the_shipped_file_changes_nothing() -> None:
    assert load({}, ROOT) == Settings(origin=str(ROOT / "conf" / "cassandra_config.yaml"))


def test_every_key_of_the_shipped_file_is_known_and_shows_its_default(cwd: Path) -> None:
    lines = (ROOT / "conf" / "cassandra_config.yaml").read_text(encoding="utf-8").splitlines()
    head = lines.index("cassandra:")
    shown = yaml.safe_load("\n".join(line.replace("  # ", "  ", 1) for line in lines[head:]))["cassandra"]
    flat = {
        (f"{key}.{inner}" if isinstance(value, dict) else key)
        for key, value in shown.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert flat == set(settings_parse.KEYS)
    for key in ("contact_points", "port", "keyspace", "connect_timeout", "request_timeout", "batch_size"):
        default = getattr(Settings(), key)
        assert shown[key] == (list(default) if isinstance(default, tuple) else default)
    assert shown["consistency"] == asdict(Settings().consistency)
    assert shown["ttl"] == asdict(Settings().ttl)


def test_the_seeds_own_file(cwd: Path) -> None:
    put(cwd, SEED_CASSANDRA_CONFIG)
    settings = load({}, cwd)
    assert settings.explicit
    assert settings.contact_points == ("localhost",)
    assert settings.username == "cassandra"
    assert settings.password == Secret("cassandra")
    assert (settings.connect_timeout, settings.request_timeout, settings.flush_interval) == (10.0, 10.0, 5.0)
    assert len(settings.notes) == 1
    assert "no effect" in settings.notes[0]


def test_the_seeds_app_config_is_read_and_other_sections_are_left_alone(cwd: Path) -> None:
    put(cwd, SEED_APP_CONFIG, "app_config.yaml")
    settings = load({"CASSANDRA_USERNAME": "ada", "CASSANDRA_PASSWORD": "secret"}, cwd)
    assert settings.enabled is False
    assert settings.contact_points == ("localhost", "cassandra-node-2")
    assert (settings.username, settings.password) == ("ada", Secret("secret"))
    assert (settings.consistency.write, settings.consistency.read) == ("ONE", "ONE")
    assert (settings.ttl.metrics, settings.ttl.topology, settings.ttl.runs) == (2592000, 7776000, 0)


def test_switched_off_it_does_not_ask_for_a_login_that_nobody_set(cwd: Path) -> None:
    put(cwd, SEED_APP_CONFIG, "app_config.yaml")
    assert load({}, cwd).enabled is False
    put(cwd, SEED_APP_CONFIG.replace("enabled: false", "enabled: true"), "app_config.yaml")
    with pytest.raises(SettingsError, match="needs the variable CASSANDRA_USERNAME"):
        load({}, cwd)


def test_the_nearest_file_wins(cwd: Path) -> None:
    elsewhere = cwd / "elsewhere.yaml"
    elsewhere.write_text("cassandra: {port: 1}", encoding="utf-8")
    home = cwd / "home"
    (home / "canopy").mkdir(parents=True)
    (home / "canopy" / "cassandra_config.yaml").write_text("cassandra: {port: 4}", encoding="utf-8")
    env = {"XDG_CONFIG_HOME": str(home)}
    assert load(env, cwd).port == 4
    put(cwd, "backend: {cassandra: {port: 3}}", "app_config.yaml")
    assert load(env, cwd).port == 3
    put(cwd, "cassandra: {port: 2}")
    assert load(env, cwd).port == 2
    assert load({**env, "CANOPY_CONFIG": "elsewhere.yaml"}, cwd).port == 1
    with pytest.raises(SettingsError, match="is not a file"):
        load({"CANOPY_CONFIG": "nowhere.yaml"}, cwd)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cassandra: [unclosed", "is not YAML at line"),
        ("- a list", "must hold keys and values"),
        ("cassandra: 3", "must hold keys and values"),
        ("cassandra: {ttl: 3}", "ttl must hold keys and values"),
        ("enabled: true", "all settings stand below 'cassandra:'"),
    ],
)
def test_a_file_that_is_not_settings(cwd: Path, text: str, said: str) -> None:
    put(cwd, text)
    with pytest.raises(SettingsError, match=re.escape(said)):
        load({}, cwd)


def test_a_file_that_cannot_be_read(cwd: Path) -> None:
    (cwd / "conf" / "cassandra_config.yaml").write_bytes(b"cassandra: \xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, cwd)


# -- keys -------------------------------------------------------------------------------------------

# Every key, a value other than the default, the same as an environment variable's text, and where it ends up.
KEYS: list[tuple[str, object, str, str, object]] = [
    ("enabled", True, "1", "enabled", True),
    ("contact_points", ["a", "b"], "a, b", "contact_points", ("a", "b")),
    ("port", 9043, "9043", "port", 9043),
    ("auth_provider.username", "u", "u", "username", "u"),
    ("auth_provider.password", "p", "p", "password", Secret("p")),
    ("keyspace", "mine", "mine", "keyspace", "mine"),
    ("local_dc", "dc2", "dc2", "local_dc", "dc2"),
    ("pool_size", 10, "10", "pool_size", 10),
    ("connect_timeout", 3, "3", "connect_timeout", 3.0),
    ("request_timeout", 30.5, "30.5", "request_timeout", 30.5),
    ("batch_size", 50, "50", "batch_size", 50),
    ("flush_interval", 5, "5", "flush_interval", 5.0),
    ("consistency.write", "one", "one", "consistency.write", "ONE"),
    ("consistency.read", "ALL", "ALL", "consistency.read", "ALL"),
    ("ttl.metrics", 2592000, "2592000", "ttl.metrics", 2592000),
    ("ttl.topology", 7776000, "7776000", "ttl.topology", 7776000),
    ("ttl.runs", 1, "1", "ttl.runs", 1),
    ("replication", {"dc1": 3, "dc2": 2}, "dc1:3,dc2:2", "replication", {"dc1": 3, "dc2": 2}),
    ("prune_after_days", 30, "30", "prune_after_days", 30.0),
    ("disk_limit_gb", 2.5, "2.5", "disk_limit_gb", 2.5),
    ("ssl.enabled", True, "true", "tls.enabled", True),
    ("ssl.ca_file", "/ca.pem", "/ca.pem", "tls.ca_file", Path("/ca.pem")),
    ("ssl.cert_file", "/c.pem", "/c.pem", "tls.cert_file", Path("/c.pem")),
    ("ssl.key_file", "/k.pem", "/k.pem", "tls.key_file", Path("/k.pem")),
    ("ssl.check_hostname", False, "0", "tls.check_hostname", False),
    ("cloud.secure_connect_bundle", "/b.zip", "/b.zip", "secure_connect_bundle", Path("/b.zip")),
]


def nested(key: str, value: object) -> dict[str, Any]:
    section, _, name = key.rpartition(".")
    document: dict[str, Any] = {section: {name: value}} if section else {name: value}
    if key.startswith("auth_provider."):  # a name without a password is an error of its own
        document["auth_provider"] = {"username": "u", "password": "p"} | document["auth_provider"]
    return {"cassandra": document}


def at(settings: object, path: str) -> object:
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


@pytest.mark.parametrize(("key", "value", "text", "path", "expected"), KEYS, ids=[row[0] for row in KEYS])
def test_a_key_from_the_file_and_from_the_environment(
    cwd: Path, key: str, value: object, text: str, path: str, expected: object
) -> None:
    assert at(Settings(), path) != expected
    put(cwd, yaml.safe_dump(nested(key, value)))
    assert at(load({}, cwd), path) == expected
    put(cwd, "")
    login = {"CASSANDRA_USERNAME": "u", "CASSANDRA_PASSWORD": "p"} if "auth" in key else {}
    assert at(load({**login, settings_parse.variables()[key]: text}, cwd), path) == expected


def test_every_key_is_tested() -> None:
    assert {row[0] for row in KEYS} | {"auth_provider.enabled"} == set(settings_parse.KEYS)


def test_the_environment_wins_and_says_so(cwd: Path) -> None:
    settings = read(cwd, "  port: 1\n  batch_size: 7", CASCOR_CASSANDRA_PORT="2")
    assert (settings.port, settings.batch_size) == (2, 7)
    assert settings.origin.endswith("cassandra_config.yaml and the environment")
    assert read(cwd, "  port: 1", CASCOR_CASSANDRA_PORT="").port == 1  # set and empty is not set


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  port: ninety", "port must be a whole number from 1 to 65535, not 'ninety'"),
        ("  port: '9042'", "port must be a whole number"),
        ("  port: true", "port must be a whole number"),
        ("  port: 70000", "port must be a whole number"),
        ("  batch_size: 201", "batch_size must be a whole number from 1 to 200"),
        ("  enabled: maybe", "enabled must be true or false"),
        ("  contact_points: 3", "contact_points must be a list of host names"),
        ("  contact_points: [1, 2]", "contact_points must be a list of host names"),
        ("  contact_points: []", "contact_points must be at least one host name"),
        ("  contact_points: ['a:9042']", "its port under port"),
        ("  connect_timeout: -1", "connect_timeout must be a number of seconds"),
        ("  flush_interval: soon", "flush_interval must be a number of seconds"),
        ("  consistency: {write: TWO}", "consistency.write must be one of ONE, LOCAL_ONE"),
        ("  keyspace: My-Keyspace", "keyspace must be a lower-case name"),
        ("  ttl: {metrics: 30d}", "ttl.metrics must be a whole number"),
        ("  replication: 0", "replication must be a whole number"),
        ("  replication: {dc1: three}", "replication.dc1 must be a whole number"),
        ("  prune_after_days: -1", "prune_after_days must be a number of days from 0"),
        ("  local_dc: 3", "local_dc must be a text"),
        ("  auth_provider: {username: ada}", "needs both a username and a password"),
        ("  contact_points: [a]\n  cloud: {secure_connect_bundle: b.zip}", "leave contact_points out"),
    ],
)
def test_a_wrong_value_is_named(cwd: Path, text: str, said: str) -> None:
    message = refused(cwd, text)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("  contact_pionts: [a]", "contact_points"),
        ("  consistency: {wirte: ONE}", "consistency.write"),
        ("  username: ada", "auth_provider.username"),
        ("  ttl: {metric: 1}", "ttl.metrics"),
    ],
)
def test_an_unknown_key_names_the_nearest(cwd: Path, text: str, nearest: str) -> None:
    assert f"did you mean {nearest}?" in refused(cwd, text)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("CASCOR_CASSANDRA_CONTACT_POINT", "CASCOR_CASSANDRA_CONTACT_POINTS"),
        ("CANOPY_PROJCT", "CANOPY_PROJECT"),
        ("CASCOR_CASSANDRA_FLUSHINTERVAL", "CASCOR_CASSANDRA_FLUSH_INTERVAL"),
    ],
)
def test_an_unknown_variable_names_the_nearest(variable: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is not known; did you mean {nearest}?"):
        check_variables({variable: "x"})


def test_other_programs_variables_are_not_ours_to_judge() -> None:
    check_variables({"CASSANDRA_HOME": "/x", "CASCOR_DEMO_MODE": "1", "CANOPY_TEST_ANYTHING": "1"})


def test_references_to_variables(cwd: Path) -> None:
    text = "  port: ${PORT:9050}\n  contact_points: ['${HOST:a}', b]\n  keyspace: ks_${NAME}"
    settings = read(cwd, text, NAME="x")
    assert (settings.port, settings.contact_points, settings.keyspace) == (9050, ("a", "b"), "ks_x")
    settings = read(cwd, text, NAME="x", PORT="1", HOST="h")
    assert (settings.port, settings.contact_points) == (1, ("h", "b"))
    assert "needs the variable NAME" in refused(cwd, text)


def test_a_path_is_relative_to_its_file(cwd: Path) -> None:
    assert read(cwd, "  ssl: {ca_file: ca.pem}").tls.ca_file == cwd / "conf" / "ca.pem"
    assert read(cwd, "", CASCOR_CASSANDRA_SSL_CA_FILE="ca.pem").tls.ca_file == cwd / "ca.pem"


def test_a_login_that_is_switched_off_is_not_used(cwd: Path) -> None:
    settings = read(cwd, "  auth_provider: {enabled: false, username: u, password: p}")
    assert (settings.username, settings.password) == (None, None)


# -- secrets ----------------------------------------------------------------------------------------


def test_the_password_has_no_readable_form(cwd: Path) -> None:
    settings = read(cwd, "  auth_provider: {username: ada, password: hunter2}")
    assert settings.password is not None
    assert settings.password.reveal() == "hunter2"
    assert copy.deepcopy(settings) == settings
    for form in (
        repr(settings), str(settings), f"{settings.password}", repr(asdict(settings)),
        json.dumps(asdict(settings), default=str),
    ):  # fmt: skip
        assert "hunter2" not in form
    message = refused(cwd, "  auth_provider: {username: ada, password: 271828}")
    assert "271828" not in message


def test_settings_are_frozen_all_the_way_down() -> None:
    settings = Settings()
    for field in fields(settings):
        value = getattr(settings, field.name)
        assert not isinstance(value, list | dict | set)
        if is_dataclass(value):
            assert value.__dataclass_params__.frozen  # pyright: ignore


# -- which Cassandra --------------------------------------------------------------------------------


def managed_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    noderecord.write_record(
        noderecord.NodeRecord(
            "default", state, "127.0.0.1", 9055, "5.0.5", str(tmp_path), str(tmp_path / "log")
        )
    )


def test_explicit_settings_come_before_the_managed_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    managed_node(monkeypatch, tmp_path, "down")
    explicit = Settings(contact_points=("a", "b"), explicit=True)
    assert resolve(explicit, {}) == Endpoint(("a", "b"), 9042, "settings", "a:9042 +1")
    assert resolve(Settings(enabled=False), {}) is None
    assert resolve(Settings(), {}) is None  # it is down
    assert resolve(Settings(), {"CANOPY_NODE": "none"}) is None
    bundle = Settings(secure_connect_bundle=Path("/x/secure.zip"), explicit=True)
    assert resolve(bundle, {}) == Endpoint((), 9042, "settings", "secure.zip")


def test_a_running_managed_node_is_found_without_settings(
    cassandra5: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = cassandra5.endpoint
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    record = noderecord.NodeRecord(
        "default", "up", host, port, "5.0.5", str(tmp_path), str(tmp_path / "log"), pid=cassandra5.pid,
        identity=noderecord.process_identity(cassandra5.pid),
    )  # fmt: skip
    noderecord.write_record(record)
    assert resolve(Settings(), {}) == Endpoint((host,), port, "managed", f"{host}:{port}")
    assert resolve(Settings(), {"CANOPY_NODE": "none"}) is None
    assert resolve(Settings(), {"CANOPY_NODE": "other"}) is None

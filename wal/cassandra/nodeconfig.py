"""What a node is started with: its cassandra.yaml, its logback.xml and the command line of its Java."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape  # all that XML needs, and cheap to import
from pathlib import Path
from typing import Any

import yaml

from wal.cassandra.java import Java
from wal.paths import make_private_directory, write_private

MAIN_CLASS = "org.apache.cassandra.service.CassandraDaemon"
CLUSTER_NAME = "canopy"

# 256 MB start on a small schema, but then compactions of a large backlog run out of heap.
HEAP_MB = 512
# What it begins with and grows from: half the memory of a node that idles (370 against 760 MB resident).
FIRST_HEAP_MB = 128


@dataclass(frozen=True)
class NodeSpec:
    """One node: where it lies and listens, and how it differs from the plain one.

    ``seeds`` are the addresses it joins by (empty: itself). ``overrides`` are keys of cassandra.yaml and win
    over ours, None leaves a key out; ``java_options`` come last on the command line. ``durable`` False gives
    up what a test can do without: snapshots of what is dropped.
    """

    directory: Path
    version: str
    host: str
    port: int
    storage_port: int
    heap_mb: int = HEAP_MB
    seeds: Sequence[str] = ()
    initial_token: int = 0
    authenticator: str = "AllowAllAuthenticator"
    durable: bool = True
    overrides: Mapping[str, object] = field(default_factory=dict[str, object])
    java_options: Sequence[str] = ()

    @property
    def log_file(self) -> Path:
        """The server's own log."""
        return self.directory / "logs" / "system.log"

    @property
    def output_file(self) -> Path:
        """What its Java prints: a few lines, mostly when it cannot start."""
        return self.directory / "logs" / "output.log"


def cassandra_yaml(spec: NodeSpec) -> str:
    """A minimal cassandra.yaml, valid for 4.1 and 5.0 alike; everything else is the server's default."""
    seeds = ",".join(spec.seeds or (spec.host,))
    settings: dict[str, Any] = {
        "cluster_name": CLUSTER_NAME,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [
                    {"seeds": ",".join(f"{seed}:{spec.storage_port}" for seed in seeds.split(","))}
                ],
            }
        ],
        # One token, given: nothing to agree on, and several nodes may start at once.
        "num_tokens": 1,
        "initial_token": spec.initial_token,
        "auto_bootstrap": False,
        "listen_address": spec.host,
        "rpc_address": spec.host,
        "native_transport_port": spec.port,
        "storage_port": spec.storage_port,
        "authenticator": spec.authenticator,
        "data_file_directories": [str(spec.directory / "data")],
        "commitlog_directory": str(spec.directory / "commitlog"),
        "saved_caches_directory": str(spec.directory / "saved_caches"),
        "hints_directory": str(spec.directory / "hints"),
        # The default, as on most clusters: what was acknowledged in the last 10 s is lost with the machine,
        # in the last 0.1 s (the period of its markers) with the process. The syncer knows and sends it again.
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10s",
        # The default keeps up to 8 GB of it; replaying that after a kill would take minutes.
        "commitlog_total_space": "512MiB",
        "auto_snapshot": spec.durable,
        # The syncer's batches reach 32 KiB by design; a warning about each would flood the log. The limit
        # above which a server refuses a batch stays the default, 50 KiB, as on anyone's cluster.
        "batch_size_warn_threshold": "48KiB",
        "concurrent_compactors": 1,
    }
    settings.update(spec.overrides)
    given = {key: value for key, value in settings.items() if value is not None}
    return yaml.safe_dump(given, sort_keys=False)


def logback_xml(spec: NodeSpec) -> str:
    """The server's log: one file, rolled over at 10 MB, two older ones kept."""
    path = escape(str(spec.log_file))
    return f"""\
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{path}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{path}.%i</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>10MB</maxFileSize>
    </triggeringPolicy>
    <encoder><pattern>%-5level [%thread] %date{{ISO8601}} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""


def write_files(spec: NodeSpec) -> None:
    """Make the node's directories and write its configuration. Raises OSError."""
    for name in ("data", "commitlog", "saved_caches", "hints", "logs", "conf", "tmp"):
        make_private_directory(spec.directory / name)
    write_private(spec.directory / "conf" / "cassandra.yaml", cassandra_yaml(spec))
    write_private(spec.directory / "conf" / "logback.xml", logback_xml(spec))


# What the server reaches for inside the JDK since Java 9 (its own jvm11- and jvm17-server.options).
_EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)


def command(spec: NodeSpec, java: Java, jars: Sequence[Path], options: Sequence[str]) -> list[str]:
    """The command line that runs the server in the foreground; ``options`` are further ones for its Java."""
    jamm = next(jar for jar in jars if jar.name.startswith("jamm-"))
    properties = {
        "cassandra.config": (spec.directory / "conf" / "cassandra.yaml").as_uri(),
        "logback.configurationFile": str(spec.directory / "conf" / "logback.xml"),
        "cassandra.storagedir": str(spec.directory),
        "java.io.tmpdir": str(spec.directory / "tmp"),
        "cassandra-foreground": "yes",
        # All nodes are known and have their tokens: there is nobody to wait for.
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        # How long it may take to hear of the first peer; a busy machine needs more than a second.
        "cassandra.ring_delay_ms": "1" if spec.host in (spec.seeds or (spec.host,)) else "60000",
        "cassandra.superuser_setup_delay_ms": "0",
        "cassandra.shutdown_announce_in_ms": "0",
        "java.net.preferIPv4Stack": "true",
        "file.encoding": "UTF-8",
        "jdk.attach.allowAttachSelf": "true",
    }
    return [
        str(java.path),
        f"-Xms{min(FIRST_HEAP_MB, spec.heap_mb)}m",
        f"-Xmx{spec.heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        f"-javaagent:{jamm}",
        *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS),
        *(f"-D{name}={value}" for name, value in properties.items()),
        *options,
        *spec.java_options,
        "-cp",
        os.pathsep.join(map(str, jars)),
        MAIN_CLASS,
    ]

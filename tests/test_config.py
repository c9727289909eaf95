"""Settings from every source: what is taken, what is refused, and in which words."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.config import Config, ConfigError, Member, is_loopback
from raftkv.config_sources import SETTINGS, Setting, config_from, read_toml
from raftkv.config_values import Members, Size
from raftkv.runtime_settings import RuntimeSettings, SettingRefused

THREE = "1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003"

#: A value for every key that differs from the default and may stand beside the defaults of the others.
OTHER_VALUES = {
    "node_id": "2",
    "members": "1=127.0.0.1:7001@127.0.0.1:17001,2=127.0.0.1:7002@127.0.0.1:17002",
    "bind": "127.0.0.2",
    "port": "7100",
    "peer_port": "7101",
    "standalone_port": "7101",
    "announce_host": "localhost",
    "announce_port": "7200",
    "announce_peer_port": "7201",
    "protected_mode": "false",
    "requirepass": "a b=c",
    "data_dir": "/var/lib/raftkv",
    "loop": "asyncio",
    "log_level": "debug",
    "election_timeout_ms": "1000",
    "heartbeat_interval_ms": "50",
    "clock_drift_percent": "10",
    "request_timeout_ms": "1000",
    "leader_wait_ms": "500",
    "batch_bytes_max": "2097152",
    "gather_ms": "0.5",
    "batches_in_flight_max": "8",
    "command_bytes_max": "33554432",
    "clients_max": "100",
    "idle_timeout_s": "60",
    "tcp_keepalive_s": "0",
    "query_buffer_bytes_max": "536870912",
    "multibulk_max": "2048",
    "bulk_bytes_max": "268435456",
    "inline_bytes_max": "32768",
    "output_buffer_bytes_max": "134217728",
    "output_buffer_soft_bytes_max": "1048576",
    "output_buffer_soft_s": "60",
    "uncommitted_bytes_max": "134217728",
    "append_bytes_max": "524288",
    "inflight_messages_max": "16",
    "inflight_bytes_max": "4194304",
    "committed_bytes_max": "2097152",
    "pending_reads_max": "128",
    "peer_queue_bytes_max": "134217728",
    "snapshot_window_chunks": "4",
    "snapshot_chunk_bytes": "65536",
    "snapshot_rate_bytes_max": "0",
    "log_cache_bytes_max": "16777216",
    "cache_bytes_max": "1048576",
    "join": "127.0.0.1:7001@17001",
    "join_in_place_of": "2",
    "join_as_learner": "yes",
    "flush_commands_max": "1000",
    "flush_bytes_max": "8388608",
    "log_tail_bytes": "4194304",
    "promotion_lag_entries_max": "100",
    "log_warn_bytes": "1073741824",
    "disk_free_min": "1048576",
    "disk_stall_ms": "500",
    "loop_stall_ms": "0",
    "debug_sync_delay_ms": "100",
    "slice_ms": "5",
    "slowlog_slower_than_us": "0",
    "slowlog_count_max": "5",
    "latency_threshold_ms": "100",
}


def refusal(
    table: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, str] | None = None,
) -> str:
    """Return the text of the ConfigError that these sources end in."""
    with pytest.raises(ConfigError) as caught:
        config_from(table or {}, environ or {}, flags or {}, table_name="node.toml")
    return str(caught.value)


def test_every_field_is_described() -> None:
    """One description per key drives all sources; its default is one that its own kind takes."""
    assert [setting.key for setting in SETTINGS] == [field.name for field in fields(Config)]
    assert set(OTHER_VALUES) == {setting.key for setting in SETTINGS}
    for setting in SETTINGS:
        assert setting.help
        assert setting.kind.allowed
        assert setting.kind.check(setting.default) == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_key_can_be_set_by_each_source(setting: Setting) -> None:
    """TOML, environment and flags all take every key, and mean the same."""
    text = OTHER_VALUES[setting.key]
    value = setting.kind.parse(text)
    beside = {"node_id": {"members": THREE}, "members": {"node_id": "2"}}.get(setting.key, {})
    table = {setting.key: Members().parse(text) if setting.key == "members" else value}
    by_table = config_from(table, {}, beside)
    by_environment = config_from({}, {setting.environment_name: text}, beside)
    by_flag = config_from({}, {}, {**beside, setting.key: text})
    assert getattr(by_flag, setting.key) == value != setting.default
    assert by_table == by_environment == by_flag


def test_later_sources_win() -> None:
    """Defaults < file < environment < flags."""
    table: dict[str, object] = {"clients_max": 1, "slice_ms": 1, "port": 7101}
    environ = {"RAFTKV_CLIENTS_MAX": "2", "RAFTKV_SLICE_MS": "2", "HOME": "/root"}
    config = config_from(table, environ, {"clients_max": "3"})
    assert (config.clients_max, config.slice_ms, config.port) == (3, 2, 7101)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_shown_value_is_read_back(setting: Setting) -> None:
    """What CONFIG GET and --help show can be pasted as a value."""
    value = setting.kind.parse(OTHER_VALUES[setting.key])
    assert setting.kind.parse(setting.kind.show(value)) == value


def test_unknown_key_names_its_source_and_the_nearest() -> None:
    """A wrong key names itself and what is allowed."""
    assert refusal({"elecion_timeout_ms": 1}) == (
        "node.toml: there is no setting 'elecion_timeout_ms'; did you mean 'election_timeout_ms'?"
    )
    assert refusal(environ={"RAFTKV_PROT": "1"}) == (
        "environment: there is no setting 'RAFTKV_PROT'; did you mean 'RAFTKV_PORT'?"
    )
    far = refusal({"zzz": 1})
    assert far.startswith("node.toml: there is no setting 'zzz'; allowed are node_id, members, join, ")


@pytest.mark.parametrize(
    ("key", "raw", "allowed"),
    [
        ("port", "7001", "a whole number from 1 to 65535"),
        ("port", True, "a whole number from 1 to 65535"),
        ("port", 7001.0, "a whole number from 1 to 65535"),
        ("port", 0, "a whole number from 1 to 65535"),
        ("port", 65536, "a whole number from 1 to 65535"),
        ("gather_ms", "1", "a number from 0 to 1000"),
        ("gather_ms", float("nan"), "a number from 0 to 1000"),
        ("protected_mode", 0, "true or false"),
        ("loop", "trio", "one of uvloop, asyncio"),
        ("data_dir", "", "a line of text, not empty"),
        ("data_dir", "a\nb", "a line of text, not empty"),
        ("clients_max", None, "a whole number from 1 to 1000000"),
        ("cache_bytes_max", "64 parsecs", "a size from 1024 to "),
        ("cache_bytes_max", 1023, "a size from 1024 to "),
        ("members", 3, "a [[members]] table"),
        ("members", [3], "a [[members]] table"),
    ],
)
def test_wrong_value_says_what_is_allowed(key: str, raw: object, allowed: str) -> None:
    """Wrong type or out of range: the source, the key, the value, and what is allowed."""
    text = refusal({key: raw})
    assert text.startswith(f"node.toml: {key}: {raw!r} can't be taken: it must be {allowed}")


def test_wrong_text_names_the_variable_or_flag() -> None:
    """The reader finds the place to correct."""
    assert refusal(environ={"RAFTKV_PORT": "many"}) == (
        "environment RAFTKV_PORT: 'many' can't be taken: it must be a whole number from 1 to 65535"
    )
    assert refusal(flags={"peer_port": "-1"}) == (
        "--peer-port: '-1' can't be taken: it must be a whole number from 0 to 65535"
    )


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"id": 1, "host": "a"}, "lacks 'port' in a table"),
        ({"id": 1, "host": "a", "port": 1, "prot": 2}, "has no key 'prot' in a table; allowed are id, host"),
        ({"id": 0, "host": "a", "port": 1}, "has id = 0 in a table: it must be a whole number from 1"),
        ({"id": 1, "host": "", "port": 1}, "has host = '' in a table: it must be a line of text, not empty"),
        ({"id": 1, "host": "a", "port": 60000}, "needs peer_port for member 1: 60000 + 10000 is no port"),
    ],
)
def test_wrong_member_table_is_named(table: dict[str, object], fault: str) -> None:
    """The [[members]] tables are checked like keys."""
    assert fault in refusal({"members": [table]})


@pytest.mark.parametrize(
    "text", ["1", "1=", "1=host", "x=host:1", "1=host:x", "1=host:1@", "1=h:1@p:", "=h:1"]
)
def test_wrong_member_text_is_quoted(text: str) -> None:
    """ID=HOST:PORT[@[PEER_HOST:]PEER_PORT] and nothing else."""
    assert f"it has {text!r}: it must be" in refusal(environ={"RAFTKV_MEMBERS": text})


def test_members_as_text_may_name_peer_addresses() -> None:
    """Clients and peers may see a node at different addresses, as behind published ports."""
    config = config_from({}, {"RAFTKV_MEMBERS": "2=[::1]:7002@9002, 1=localhost:7001@node1:17001"}, {})
    assert config.members == (
        Member(1, "localhost", 7001, "node1", 17001),
        Member(2, "::1", 7002, "::1", 9002),
    )
    assert config.members[1].address == "[::1]:7002"


def test_members_conflicts_are_refused() -> None:
    """Ids and addresses are each member's own."""
    twice = refusal(flags={"members": "1=a:7001,1=b:7001"})
    assert twice == "members: has two members with id 1"
    assert refusal(flags={"node_id": "4", "members": THREE}) == (
        "node_id: 4 is not among the members' ids (1, 2, 3)"
    )
    assert "uses a:7001 twice: as member 1's address for clients and as member 2's" in refusal(
        flags={"members": "1=a:7001,2=a:7001@8002"}
    )
    assert "uses a:7002 twice: as member 1's address for peers and as member 2's" in refusal(
        flags={"members": "1=a:7001@7002,2=a:7002"}
    )


def test_ports_conflicts_are_refused() -> None:
    """Both listeners of a node need a port of their own."""
    assert (
        refusal({"port": 7001, "peer_port": 7001}) == "peer_port: 7001 is already the port for clients (port)"
    )
    assert "peer_port: must be set" in refusal({"port": 60000})
    assert config_from({"port": 60000, "peer_port": 60001}, {}, {}).peer_port == 60001


def test_peer_port_follows_the_port() -> None:
    """Redis Cluster: the bus port is the client port plus 10000."""
    assert Config(port=7005).peer_port == 17005


def test_node_without_members_is_its_own_cluster() -> None:
    """The announced address is then where it listens, unless it is told."""
    assert Config(node_id=7).members == (Member(7, "127.0.0.1", 7001, "127.0.0.1", 17001),)
    alone = Config(announce_host="db", announce_port=1, announce_peer_port=2)
    assert alone.members == (Member(1, "db", 1, "db", 2),)


def test_announced_address_comes_from_members() -> None:
    """Every node names a member as `members` does; a contradiction is refused."""
    config = config_from({}, {"RAFTKV_MEMBERS": "1=db1:7001,2=db2:7002@99"}, {"node_id": "2"})
    assert (config.announce_host, config.announce_port, config.announce_peer_port) == ("db2", 7002, 99)
    assert config.member == config.members[1]
    assert config.other_members == (config.members[0],)
    text = refusal(flags={"node_id": "2", "members": "1=db1:7001,2=db2:7002", "announce_host": "db3"})
    assert text.startswith("announce_host: 'db3' contradicts members, where node 2 has 'db2'")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_served(host: str) -> None:
    """Only this machine reaches it."""
    assert is_loopback(host)
    assert Config(bind=host).bind == host


def test_other_addresses_are_served_with_a_password() -> None:
    """redis protected-mode: a password is enough, and can't be taken away while it is needed."""
    settings = RuntimeSettings(Config(bind="10.0.0.1", requirepass="secret"))
    settings.set("requirepass", "other")
    with pytest.raises(SettingRefused, match="can be reached from other machines"):
        settings.set("requirepass", "")
    assert settings.config.requirepass == "other"


def test_a_password_is_not_in_what_is_logged_of_a_configuration() -> None:
    """STYLE.md, Logs: never a client's data."""
    assert "secret" not in repr(Config(requirepass="secret"))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "db1.example", "8.8.8.8"])
def test_other_addresses_need_protected_mode_off(host: str) -> None:
    """redis protected-mode: without a password or TLS nothing but loopback is served."""
    text = refusal(flags={"bind": host, "announce_host": "db1"})
    assert text.startswith(f"bind: {host!r} can be reached from other machines")
    assert "protected_mode = false" in text
    assert Config(bind=host, announce_host="db1", protected_mode=False).announce_host == "db1"


def test_wildcard_is_never_announced() -> None:
    """Clients can't connect to 0.0.0.0."""
    assert refusal({"bind": "0.0.0.0", "protected_mode": False}) == (
        "announce_host: must be set: clients can't be told '0.0.0.0'"
    )


def test_limits_that_contradict_are_refused() -> None:
    """A batch may not exceed a command, a command not what may be uncommitted."""
    assert refusal({"batch_bytes_max": 2048, "command_bytes_max": 1024}) == (
        "batch_bytes_max: 2048 must not exceed command_bytes_max (1024)"
    )
    assert refusal({"command_bytes_max": "512mb"}) == (
        "command_bytes_max: 536870912 must not exceed uncommitted_bytes_max (268435456)"
    )
    assert refusal({"heartbeat_interval_ms": 300}) == (
        "heartbeat_interval_ms: 300 must be at most half of election_timeout_ms (500)"
    )
    assert refusal({"snapshot_rate_bytes_max": "100kb"}) == (
        "snapshot_rate_bytes_max: 102400 must be 0 or at least snapshot_chunk_bytes (262144)"
    )


@given(number=st.integers(1, 1023), unit=st.sampled_from(["kb", "KB", "mb", "gb"]))
def test_size_takes_redis_units(number: int, unit: str) -> None:
    """redis.conf: 1kb is 1024 bytes."""
    factor = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}[unit.lower()]
    assert Size(1, 1 << 50).parse(f"{number}{unit}") == number * factor


def test_toml_fault_names_the_file_and_the_line() -> None:
    """Nobody wants to search for it."""
    with pytest.raises(ConfigError, match=r"^node\.toml: is no TOML: .*line 2"):
        read_toml(b"port = 1\nport = = 2\n", name="node.toml")
    with pytest.raises(ConfigError, match=r"^node\.toml: is no TOML: "):
        read_toml(b"\xff", name="node.toml")


def test_raft_config_holds_the_shared_settings() -> None:
    """Fields of one name mean one thing."""
    config = Config(node_id=2, members=Members().parse(THREE), port=7002, election_timeout_ms=900)
    raft = config.raft_config()
    assert (raft.node_id, raft.voters) == (2, (1, 2, 3))
    for field in fields(raft):
        if field.name != "voters":
            assert getattr(raft, field.name) == getattr(config, field.name), field.name


# -- CONFIG GET and SET --


def test_config_get_shows_redis_names() -> None:
    """redis-benchmark asks for save and appendonly; cluster tools for cluster-enabled."""
    settings = RuntimeSettings(Config())
    shown = settings.shown()
    assert (shown["save"], shown["appendonly"]) == ("", "yes")
    assert (shown["maxclients"], shown["protected-mode"]) == ("10000", "yes")
    assert shown["proto-max-bulk-len"] == str(512 << 20)
    assert shown["loglevel"] == "notice"
    assert shown["slowlog-log-slower-than"] == "10000"
    assert {"cluster-announce-bus-port", "cluster-announce-ip", "cluster-announce-port"} <= set(shown)


def test_config_get_shows_every_setting() -> None:
    """Each key by Redis's name for it, or its own with dashes."""
    shown = RuntimeSettings(Config()).shown()
    assert {setting.redis_name for setting in SETTINGS} <= set(shown)
    assert list(shown) == sorted(shown)


def test_config_set_changes_what_runs() -> None:
    """The new configuration is in place when the listener is told."""
    told: list[int] = []
    settings = RuntimeSettings(Config(), on_change=lambda config: told.append(config.clients_max))
    settings.set("MaxClients", "12")
    assert settings.config.clients_max == 12
    assert settings.shown()["maxclients"] == "12"
    assert told == [12]


def test_config_set_takes_units_and_classes() -> None:
    """redis CONFIG SET with memory values; the one output limit goes by Redis's classes."""
    settings = RuntimeSettings(Config())
    settings.set("client-query-buffer-limit", "2mb")
    settings.set("client-output-buffer-limit", "")
    assert settings.config.output_buffer_bytes_max == 256 << 20
    settings.set("client-output-buffer-limit", "PUBSUB 0 0 0 normal 4mb 1kb 60")
    shown = settings.shown()["client-output-buffer-limit"]
    assert shown == "normal 4194304 1024 60 slave 4194304 1024 60 pubsub 4194304 1024 60"
    settings.set("loglevel", "warning")
    config = settings.config
    assert (config.query_buffer_bytes_max, config.output_buffer_bytes_max) == (2 << 20, 4 << 20)
    assert config.log_level == "warning"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("Foo", "1", "ERR Unknown option or number of arguments for CONFIG SET - 'Foo'"),
        ("port", "1", "can't set immutable config"),
        ("maxclients", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("tcp-keepalive", "2147483648", "argument must be between 0 and 2147483647 inclusive"),
        ("maxclients", "0", "argument must be between 1 and 1000000 inclusive"),
        ("client-query-buffer-limit", "x", "argument must be a memory value"),
        ("client-query-buffer-limit", "1", f"argument must be between {1 << 20} and {1 << 40} inclusive"),
        ("gather-ms", "x", "argument must be a number from 0 to 1000"),
        ("appendonly", "no", "raftkv always has 'yes' here"),
        ("loglevel", "loud", "argument(s) must be one of the following: debug, verbose, notice, warning, "),
        ("client-output-buffer-limit", "normal 4mb 1mb", "Wrong number of arguments in buffer limit config"),
        ("client-output-buffer-limit", "normal 1 0 0 x", "Wrong number of arguments in buffer limit config"),
        ("client-output-buffer-limit", "master 4mb 0 0", "Invalid client class specified in buffer limit "),
        ("client-output-buffer-limit", "normal x 0 0", "Error in hard, soft or soft_seconds setting in "),
        ("client-output-buffer-limit", "normal 1 -2 0", "Error in hard, soft or soft_seconds setting in "),
        ("client-output-buffer-limit", "normal 1 2 -3", "Error in hard, soft or soft_seconds setting in "),
    ],
)
def test_config_set_refuses_in_redis_words(name: str, value: str, text: str) -> None:
    """redis CONFIG SET: the parameter is named, and nothing changes."""
    settings = RuntimeSettings(Config(), on_change=lambda _: pytest.fail("nothing changed"))
    with pytest.raises(SettingRefused) as caught:
        settings.set(name, value)
    assert text in str(caught.value)
    if not str(caught.value).startswith("ERR Unknown option"):
        prefix = f"ERR CONFIG SET failed (possibly related to argument '{name}') - "
        assert str(caught.value).startswith(prefix)
    assert settings.config == Config()


def test_config_set_refuses_more_clients_than_the_system_has_files_for() -> None:
    """redis updateMaxclients: fewer are always fine."""
    settings = RuntimeSettings(Config(clients_max=20), room_for_clients=lambda wanted: min(wanted, 30))
    settings.set("maxclients", "30")
    with pytest.raises(SettingRefused) as caught:
        settings.set("maxclients", "31")
    assert str(caught.value) == (
        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
        "The operating system is not able to handle the specified number of clients, try with 30"
    )
    settings.set("maxclients", "5")
    assert settings.config.clients_max == 5


def test_config_set_of_several_is_all_or_nothing() -> None:
    """redis CONFIG SET since 7.0."""
    settings = RuntimeSettings(Config())
    with pytest.raises(SettingRefused, match="'port'"):
        settings.set_all([("maxclients", "5"), ("port", "1")])
    assert settings.config.clients_max == 10_000
    with pytest.raises(SettingRefused, match=r"'MAXCLIENTS'.* - duplicate parameter"):
        settings.set_all([("maxclients", "5"), ("MAXCLIENTS", "6")])
    settings.set_all([("maxclients", "5"), ("slice-ms", "4")])
    assert (settings.config.clients_max, settings.config.slice_ms) == (5, 4)


def test_config_set_to_what_holds_is_accepted() -> None:
    """Test suites and clients set save and appendonly to make sure of them."""
    settings = RuntimeSettings(Config(), on_change=lambda _: pytest.fail("nothing changed"))
    settings.set("save", "")
    settings.set("appendfsync", "ALWAYS")


def test_names_are_looked_at_before_values() -> None:
    """redis CONFIG SET: an unknown name is what is complained of, wherever it stands."""
    settings = RuntimeSettings(Config())
    for pairs, text in (
        ([("maxclients", "x"), ("nosuch", "1")], "ERR Unknown option or number of arguments"),
        ([("maxclients", "x"), ("Port", "1")], "'Port') - can't set immutable config"),
        ([("save", "x"), ("MAXCLIENTS", "1"), ("maxclients", "1")], "'maxclients') - duplicate parameter"),
    ):
        with pytest.raises(SettingRefused) as caught:
            settings.set_all(pairs)
        assert text in str(caught.value)


# -- CONFIG REWRITE --

FILE = b"""# A node.
node_id = 1
log_level = "debug"  # while we look for it

clients_max=20
[[members]]
id = 1
host = "127.0.0.1"
port = 7001
"""


def rewritten(data: bytes, **settings: str) -> str:
    """What CONFIG REWRITE makes of a file that the node was started with."""
    runtime = RuntimeSettings(config_from(tomllib.loads(data.decode()), {}, {}))
    for name, value in settings.items():
        runtime.set(name.replace("_", "-"), value)
    return runtime.rewritten(data, name="node1.toml").decode()


def test_a_rewritten_file_says_what_holds_and_keeps_the_rest() -> None:
    """redis CONFIG REWRITE: lines in their places, new ones behind them, comments kept."""
    assert rewritten(FILE) == FILE.decode()
    assert rewritten(FILE, loglevel="warning", maxclients="30", gather_ms="2.5") == (
        FILE.decode()
        .replace('"debug"  # while', '"warning"  # while')
        .replace("clients_max=20\n", "clients_max=30\ngather_ms = 2.5\n")
    )
    assert rewritten(b"", maxclients="30") == "clients_max = 30\n"
    assert rewritten(b"[[members]]\nid=1\nhost='a'\nport=7001\n", maxclients="30").startswith(
        "clients_max = 30\n[[members]]\n"
    )


def test_a_size_with_a_unit_is_left_as_it_is_written() -> None:
    """What the file says already is not written again."""
    data = b'log_warn_bytes = "1gb"\n'
    assert rewritten(data) == data.decode()
    assert rewritten(data, log_warn_bytes="2gb") == f"log_warn_bytes = {2 << 30}\n"


def test_a_file_that_can_not_be_changed_line_by_line_is_left_alone() -> None:
    """Nothing is written but what reads back as it was meant."""
    with pytest.raises(ConfigError, match="only people can change"):
        rewritten(b"'clients_max' = 20\n", maxclients="30")

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from gnomon.config_table import NO_SECRET, ConfigTable, OptionalSecret
from gnomon.conversion import Secret, convert
from gnomon.deployment.config import Config, find_config, load_config
from gnomon.durations import Duration
from gnomon.errors import ConfigError, JobError, ParameterError
from gnomon.jobs.definition import convert_job
from gnomon.jobs.job import Retry

QUICKSTART = Path(__file__).parents[3] / "config/quickstart.toml"

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a config that is written in the test."""

    def load(text: str, **environ: str) -> Config:
        path = tmp_path / "gnomon.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ)

    return load


@pytest.fixture
def problems_of(load: Load) -> Callable[..., list[str]]:
    def problems_of(text: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return caught.value.problems

    return problems_of


Problems = Callable[..., list[str]]


# --- sections ---


@pytest.mark.parametrize(
    ("written", "revision"),
    [
        ("42", "42"),
        ('"2.10"', "2.10"),
        ("2026-11-29T12:00:00+08:00", "2026-11-29T12:00:00+08:00"),
        ('{ env = "BUILD" }', "7"),
    ],
)
def test_a_revision_is_a_number_a_version_or_a_time(load: Load, written: str, revision: str) -> None:
    assert load(f"[kernel]\nrevision = {written}", BUILD="7").kernel.revision == revision
    assert load("", GNOMON__KERNEL__REVISION="2.10").kernel.revision == "2.10"


@pytest.mark.parametrize("written", ["2.10", '"4c1f2e9"', "true", "2026-11-29"])
def test_a_revision_without_an_order_is_refused(problems_of: Problems, written: str) -> None:
    (problem,) = problems_of(f"[kernel]\nrevision = {written}")

    assert problem.startswith("kernel.revision: expected a ")


def test_sections_are_read(load: Load, tmp_path: Path) -> None:
    config = load(
        """
        [kernel]
        timezone = "Asia/Shanghai"
        drain = "1m 30s"
        [plugins]
        paths = ["mine.py"]
        [plugins.web]
        port = 8000
        [[jobs]]
        id = "sync"
        func = "app:sync"
        """
    )

    assert config.kernel.timezone == "Asia/Shanghai"
    assert config.kernel.drain == timedelta(seconds=90)
    assert config.plugin_paths == [tmp_path / "mine.py"]
    assert config.sections == {"web": {"port": 8000}}
    assert config.jobs == [{"id": "sync", "func": "app:sync"}]
    assert config.directory == tmp_path


def test_an_empty_file_is_a_valid_config(load: Load) -> None:
    config = load("")

    assert config.kernel.max_running == 100
    assert config.kernel.python_path == ["."]
    assert config.sections == {}


def test_every_problem_is_reported_at_once(problems_of: Problems) -> None:
    problems = problems_of(
        """
        [kernel]
        timezone = "UTC"
        max_runing = 5
        drain = "soon"
        hook_timeout = -1
        [plugins]
        paths = "mine.py"
        web = true
        [plugins.mail]
        password = { env = "NOWHERE" }
        [job]
        """
    )

    assert [problem.partition(":")[0] for problem in problems] == [
        "job",
        "plugins.web",
        "kernel.max_runing",
        "kernel.drain",
        "kernel.hook_timeout",
        "plugins.paths",
        "plugins.mail.password",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[kernel]\nmax_runing = 5", "kernel.max_runing: unknown key; did you mean 'max_running'?"),
        ("[kernel]\nmax_running = 'x'", "kernel.max_running: expected integer, got text 'x'"),
        ("[kernel]\nmax_running = 0", "kernel: max_running must be 1 or more, got 0"),
        ("[groups]\nwarehouse = 0", "groups.warehouse: limit must be 1 or more, got 0; to hold jobs back, pause them"),
        (
            "[groups]\nwarehouse = 'two'",
            (
                'groups.warehouse: expected a limit such as 2, or a table such as { limit = 2, rate = "100/m" }, '
                "got 'two'"
            ),
        ),
        ("[groups]\napi = { limits = 2 }", "groups.api.limits: unknown key; did you mean 'limit'?"),
        (
            "[groups]\napi = { rate = '100' }",
            (
                'groups.api: rate must be a number of starts, from 1 to 100,000, and a period, such as "5/s", '
                '"100/m" or "20/15m", got \'100\''
            ),
        ),
        ("[groups]\napi = {}", 'groups.api: a group needs a limit or a rate, such as { limit = 2, rate = "100/m" }'),
        ("[kernel]\nmodules = 'app'", "kernel.modules: expected array, got text 'app'"),
        ("[plugin.web]", "plugin: unknown section; did you mean 'plugins'?"),
        (
            "[sqlite]",
            (
                "sqlite: unknown section; the sections are kernel, groups, plugins, jobs, "
                "and a plugin has [plugins.sqlite]"
            ),
        ),
        ("[jobs]\nid = 'x'", "jobs: expected tables under the heading [[jobs]], in two brackets"),
        (
            "[jobs.x]\nevery = '5s'",
            'jobs: expected tables under the heading [[jobs]], in two brackets; for [jobs.x] write [[jobs]] id = "x"',
        ),
        ("jobs = ['x']", "jobs: expected tables under the heading [[jobs]], in two brackets"),
        ("kernel = 5", "kernel: expected a table, written [kernel], got 5"),
        ("[plugins]\nweb = 8000", "plugins.web: expected a table, written [plugins.web], got 8000"),
    ],
)
def test_a_problem_names_its_place_and_the_next_step(problems_of: Problems, text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_an_unknown_zone_is_a_problem_of_the_kernel(problems_of: Problems) -> None:
    (problem,) = problems_of('[kernel]\ntimezone = "Asia/Shangai"')

    assert problem.startswith("kernel: unknown time zone 'Asia/Shangai'")
    assert "Asia/Shanghai" in problem


# --- files ---


def test_a_syntax_error_has_file_line_and_column(problems_of: Problems, tmp_path: Path) -> None:
    (problem,) = problems_of("[kernel]\nnode a")

    assert problem.startswith(f"{tmp_path / 'gnomon.toml'}:2:6: not valid TOML: Expected '='")


def test_a_syntax_error_at_the_end_has_the_last_line(problems_of: Problems, tmp_path: Path) -> None:
    (problem,) = problems_of('[kernel]\n\nnode = """')

    assert problem.startswith(f"{tmp_path / 'gnomon.toml'}:3: not valid TOML: ")


def test_a_missing_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: the file does not exist; name another one with --config"):
        load_config(tmp_path / "nowhere.toml", {})


def test_a_folder_is_not_a_config_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a TOML file, found a folder; did you mean .*gnomon\.toml"):
        load_config(tmp_path, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.toml"
    path.touch(mode=0o000)

    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path, {})


def test_an_error_of_the_system_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load_config(tmp_path / ("x" * 300), {})


def test_a_file_that_is_not_utf_8_is_reported_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.toml"
    path.write_bytes(b'[kernel]\nnode = "caf\xe9"')

    with pytest.raises(ConfigError, match=r"gnomon\.toml:2: byte 0xe9 is not valid UTF-8"):
        load_config(path, {})


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.toml"
    path.write_bytes(b'\xef\xbb\xbf[kernel]\nnode = "a"')

    assert load_config(path, {}).kernel.node == "a"


def test_the_built_in_defaults_are_the_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    built_in, written = load_config(None, {}), load_config(QUICKSTART, {})

    assert built_in == msgspec.structs.replace(written, source=None, file=None, directory=tmp_path)
    assert built_in.sections == {"sqlite": {"path": "gnomon.db", "retention": "30d"}}
    assert [job["id"] for job in built_in.jobs] == ["disk_usage", "integrity_audit", "backup"]


def test_the_quickstart_is_the_packaged_one_with_all_its_comments() -> None:
    import gnomon.deployment.config

    packaged = Path(gnomon.deployment.config.__file__).with_name("quickstart.toml")

    assert packaged.read_text(encoding="utf-8") == QUICKSTART.read_text(encoding="utf-8")


# --- which file ---


def test_the_config_comes_from_the_option_the_environment_or_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"GNOMON_CONFIG": "env.toml"}

    nothing = find_config(None, {})
    (tmp_path / "gnomon.toml").touch()

    assert nothing is None
    assert find_config(None, {"GNOMON_CONFIG": ""}) == Path("gnomon.toml")
    assert find_config(None, environ) == Path("env.toml")
    assert find_config(Path("named.toml"), environ) == Path("named.toml")


# --- references ---


def test_references_to_variables_and_files_are_resolved(load: Load, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("s3cret\n", encoding="utf-8")

    config = load(
        """
        [kernel]
        max_running = { env = "SLOTS" }
        [plugins.mail]
        token = { file = "token.txt" }
        hosts = [{ env = "HOST" }, "b"]
        [[jobs]]
        id = "x"
        func = "app:x"
        cron = { env = "CRON" }
        """,
        SLOTS="7",
        HOST="a",
        CRON="0 6 * * *",
    )

    assert config.kernel.max_running == 7
    assert config.sections == {"mail": {"token": "s3cret", "hosts": ["a", "b"]}}
    assert config.jobs[0]["cron"] == "0 6 * * *"


def test_references_in_arguments_stay_references(load: Load, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("s3cret\n", encoding="utf-8")

    config = load(
        """
        [[jobs]]
        id = "x"
        func = "app:x"
        args = [{ env = "HOST" }]
        kwargs = { logins = [{ token = { file = "token.txt" } }], plain = { "$secret" = { env = "HOST" } } }
        """,
        HOST="a",
    )

    assert config.jobs[0]["args"] == [{"$secret": {"env": "HOST"}}]
    assert config.jobs[0]["kwargs"] == {
        "logins": [{"token": {"$secret": {"file": str(tmp_path / "token.txt")}}}],
        "plain": {"$$secret": {"$secret": {"env": "HOST"}}},
    }


def test_commands_that_run_nothing_need_no_secrets_of_jobs(tmp_path: Path) -> None:
    path = tmp_path / "gnomon.toml"
    path.write_text('[[jobs]]\nid = "x"\nkwargs = { a = { env = "NOWHERE" }, b = { file = "nowhere" } }')

    config = load_config(path, {}, for_runs=False)

    assert config.jobs[0]["kwargs"]["a"] == {"$secret": {"env": "NOWHERE"}}
    with pytest.raises(ConfigError, match="NOWHERE is not set"):
        load_config(path, {})


def test_a_reference_cannot_stand_for_all_arguments(problems_of: Problems) -> None:
    assert problems_of('[[jobs]]\nid = "x"\nargs = { env = "ARGS" }', ARGS="[1]") == [
        "jobs[0 'x'].args: expected the arguments themselves; a reference may stand for each of them"
    ]


def test_an_unresolved_reference_is_reported_with_its_place(problems_of: Problems, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")

    problems = problems_of(
        """
        [plugins.mail]
        token = { file = "nowhere.txt" }
        hosts = ["a", { env = "HOST" }]
        image = { file = "picture.png" }
        [[jobs]]
        kwargs = { key = { env = "KEY" } }
        """
    )

    assert problems == [
        f"plugins.mail.token: {tmp_path / 'nowhere.txt'} cannot be read: No such file or directory",
        "plugins.mail.hosts[1]: the environment variable HOST is not set",
        f"plugins.mail.image: {tmp_path / 'picture.png'} is not valid UTF-8 text",
        "jobs[0].kwargs.key: the environment variable KEY is not set",
    ]


def test_an_unresolved_reference_in_the_kernel_is_one_problem(problems_of: Problems) -> None:
    assert problems_of('[kernel]\nnode = { env = "NODE" }') == ["kernel.node: the environment variable NODE is not set"]


def test_settings_and_arguments_may_be_named_env_or_file(load: Load) -> None:
    config = load('[plugins.echo]\nfile = "x.txt"\n[[jobs]]\nid = "x"\nkwargs = { env = "prod" }')

    assert config.sections == {"echo": {"file": "x.txt"}}
    assert config.jobs[0]["kwargs"] == {"env": "prod"}


# --- overrides ---


def test_the_environment_overrides_keys_of_every_section(load: Load) -> None:
    config = load(
        """
        [kernel]
        max_running = 1
        [plugins.web]
        port = 1
        tls = { cert = "a", key = "b" }
        [[jobs]]
        id = "market.sync-1"
        cron = "0 0 * * *"
        """,
        GNOMON__KERNEL__MAX_RUNNING="5",
        GNOMON__PLUGINS__WEB__PORT="9000",
        GNOMON__PLUGINS__WEB__TLS__KEY="c",
        GNOMON__PLUGINS__WEB__ORIGINS='["a", "b"]',
        GNOMON__PLUGINS__STATS__KEEP="10d",
        GNOMON__JOBS__MARKET_SYNC_1__CRON="0 6 * * *",
        GNOMON__JOBS__MARKET_SYNC_1__KWARGS__LIMIT="3",
    )

    assert config.kernel.max_running == 5
    assert config.sections == {
        "web": {"port": 9000, "tls": {"cert": "a", "key": "c"}, "origins": ["a", "b"]},
        "stats": {"keep": "10d"},
    }
    assert config.jobs == [{"id": "market.sync-1", "cron": "0 6 * * *", "kwargs": {"limit": 3}}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9000", 9000),
        ("true", True),
        ("9000\nid = 1", "9000\nid = 1"),
        ("plain text", "plain text"),
        ('"9000"', "9000"),
        ("0123", "0123"),
        ("", ""),
        ("{ env = 'OTHER' }", "from there"),
    ],
)
def test_an_override_is_a_toml_value_or_text(load: Load, text: str, value: object) -> None:
    config = load("", GNOMON__PLUGINS__X__KEY=text, OTHER="from there")

    assert config.sections == {"x": {"key": value}}


class Settings(msgspec.Struct, frozen=True):
    name: str = ""
    every: Duration | None = None
    count: int = 0
    share: float = 0.0
    loud: bool = False
    hosts: list[str] = []
    ports: tuple[int, ...] = ()
    at: datetime | None = None
    level: Literal["1", "2"] = "1"
    limits: dict[str, int] = {}
    retry: Retry = Retry(attempts=1)
    anything: Any = None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", "360", "360"),
        ("name", "true", "true"),
        ("name", "[1]", "[1]"),
        ("every", "360", Duration(seconds=360)),
        ("every", "0.5", Duration(milliseconds=500)),
        ("every", "6m", Duration(minutes=6)),
        ("count", "7", 7),
        ("count", " 7\n", 7),
        ("share", "0.5", 0.5),
        ("share", "1", 1.0),
        ("loud", "true", True),
        ("loud", "True", True),
        ("loud", "1", True),
        ("loud", "no", False),
        ("hosts", '["a", "b"]', ["a", "b"]),
        ("hosts", "a, b", ["a", "b"]),
        ("hosts", "8080", ["8080"]),
        ("hosts", "", []),
        ("ports", "[1, 2]", (1, 2)),
        ("ports", "1,2", (1, 2)),
        ("at", "2026-12-01T18:00:00+08:00", datetime(2026, 12, 1, 10, tzinfo=UTC)),
        ("level", "2", "2"),
        ("limits", "{ a = 1 }", {"a": 1}),
        ("retry", '{ attempts = 3, delay = "5s" }', Retry(attempts=3, delay=Duration(seconds=5))),
    ],
)
@pytest.mark.parametrize("way", ["reference", "override"])
def test_values_from_the_environment_have_the_type_of_their_key(
    load: Load, way: str, key: str, text: str, value: object
) -> None:
    if way == "reference":
        config = load(f'[plugins.x]\n{key} = {{ env = "VALUE" }}', VALUE=text)
    else:
        config = load("", **{f"GNOMON__PLUGINS__X__{key.upper()}": text})

    assert getattr(convert(config.sections["x"], Settings, "plugins.x"), key) == value


def test_nested_values_from_the_environment_have_the_type_of_their_key(load: Load) -> None:
    config = load(
        '[plugins.x]\nretry = { delay = { env = "DELAY" } }\nhosts = ["a", { env = "PORT" }]', DELAY="90", PORT="8080"
    )

    settings = convert(config.sections["x"], Settings, "plugins.x")

    assert settings.retry.delay == timedelta(seconds=90)
    assert settings.hosts == ["a", "8080"]


@pytest.mark.parametrize(
    ("text", "environ", "problem"),
    [
        (
            '[kernel]\nmax_running = { env = "SLOTS" }',
            {"SLOTS": "many"},
            "kernel.max_running: expected integer, got text",
        ),
        (
            "",
            {"GNOMON__KERNEL__DRAIN": "soon"},
            "kernel.drain: expected a duration such as",
        ),
    ],
)
def test_a_problem_names_the_variable_of_the_value(
    problems_of: Problems, text: str, environ: dict[str, str], problem: str
) -> None:
    (variable,) = environ

    (found,) = problems_of(text, **environ)

    assert found.startswith(problem)
    assert found.endswith(f" (from the environment variable {variable})")


def test_an_override_finds_a_key_with_dashes(load: Load) -> None:
    config = load("[plugins.my-echo]\nlog-file = 'a'", GNOMON__PLUGINS__MY_ECHO__LOG_FILE="b")

    assert config.sections == {"my-echo": {"log-file": "b"}}


@pytest.mark.parametrize(
    "variable",
    ["GNOMON__KERNL__NODE", "GNOMON__KERNEL", "GNOMON__PLUGINS____X", "GNOMON__JOBS__NOBODY__CRON", "GNOMON__JOBS__A"],
)
def test_an_override_of_nothing_is_a_problem(problems_of: Problems, variable: str) -> None:
    (problem,) = problems_of("[[jobs]]\nid = 'a'", **{variable: "1"})

    assert problem.startswith(f"${variable}: matches no key of the config; expected GNOMON__KERNEL__KEY")


def test_an_override_of_a_job_is_the_only_problem_of_a_config_without_jobs(problems_of: Problems) -> None:
    (problem,) = problems_of("[kernel]", GNOMON__JOBS__TICK__EVERY="1s")

    assert problem.startswith("$GNOMON__JOBS__TICK__EVERY: matches no key of the config")


def test_other_variables_are_ignored(load: Load) -> None:
    assert load("", GNOMON_CONFIG="x", PATH="y").sections == {}


# --- secrets and paths ---


class Login(msgspec.Struct):
    password: Secret
    certificate: Path | None = None


def test_a_secret_is_not_shown_and_can_be_used() -> None:
    login = convert({"password": "hunter2"}, Login, "plugins.mail")

    shown = f"{login} {login.password} {login.password!r} {login.password:>10} " + "%s" % login.password  # noqa: UP031

    assert "hunter2" not in shown
    assert "***" in shown
    assert login.password.reveal() == "hunter2"
    assert type(login.password.reveal()) is str
    assert login.password == "hunter2"


class Account(ConfigTable, frozen=True, kw_only=True):
    password: Secret


class Mail(ConfigTable):
    url: Secret
    token: OptionalSecret = NO_SECRET
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    accounts: list[Account] = msgspec.field(default_factory=list)
    retries: int = 3

    def __post_init__(self) -> None:
        if not self.url.reveal().startswith("https://"):
            raise ValueError("url: expected https://...")


def test_plain_text_is_a_secret_in_a_table_that_code_makes() -> None:
    given: dict[str, Any] = {"headers": {"key": "hunter2"}}
    mail = Mail("https://hunter2", token="hunter2", accounts=[Account(password="hunter2")], **given)
    table = {"url": "https://hunter2", "token": "hunter2", "accounts": [{"password": "hunter2"}], **given}

    assert "hunter2" not in f"{mail} {mail.url} {mail.token} {mail.headers} {mail.accounts}"
    assert mail == convert(table, Mail, "plugins.mail")
    assert (mail.url.reveal(), mail.headers["key"].reveal()) == ("https://hunter2", "hunter2")
    assert mail.token is not None
    assert mail.token.reveal() == mail.accounts[0].password.reveal() == "hunter2"
    assert Mail(url="https://a", token=None).token is None


def test_a_secret_that_is_not_text_is_refused_without_being_shown() -> None:
    wrong: list[dict[str, Any]] = [
        {"url": b"https://hunter2"}, {"url": None}, {"url": "https://a", "token": ["hunter2"]},
        {"url": "https://a", "headers": {"key": b"hunter2"}}, {"url": "https://a", "headers": "hunter2"},
    ]  # fmt: skip
    for keys in wrong:
        with pytest.raises(ParameterError, match=f"^{list(keys)[-1]}: expected ") as caught:
            Mail(**keys)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^url: expected https"):
        Mail("http://a")
    with pytest.raises(TypeError, match="Extra positional arguments"):
        Mail("https://a", None, {}, [], 3, 6)  # type: ignore[call-arg]


def test_a_converted_secret_stays_a_secret() -> None:
    assert convert({"password": Secret("hunter2")}, Login, "plugins.mail").password.reveal() == "hunter2"


def test_a_secret_must_be_text() -> None:
    with pytest.raises(ConfigError, match=r'plugins\.mail\.password: expected text in quotes, "...", got int'):
        convert({"password": 12345}, Login, "plugins.mail")


def test_paths_of_plugins_are_relative_to_the_folder_of_the_config(tmp_path: Path) -> None:
    relative = convert({"password": "x", "certificate": "tls/a.pem"}, Login, "plugins.mail", tmp_path)
    absolute = convert({"password": "x", "certificate": "/etc/a.pem"}, Login, "plugins.mail", tmp_path)

    assert relative.certificate == tmp_path / "tls/a.pem"
    assert absolute.certificate == Path("/etc/a.pem")


# --- jobs ---


def test_a_table_becomes_a_job() -> None:
    job = convert_job(
        {
            "id": "sync",
            "func": "app:sync",
            "every": "10m",
            "timeout": timedelta(hours=2),
            "retry": {"attempts": 3, "delay": 5},
            "steps": ["fetch", {"name": "store", "weight": 3}],
        }
    )

    assert job.every == timedelta(minutes=10)
    assert job.timeout == Duration(hours=2)
    assert job.retry == Retry(attempts=3, delay=Duration(seconds=5))


def test_a_policy_may_be_given_as_an_object() -> None:
    retry = Retry(attempts=2)

    assert convert_job({"id": "x", "func": print, "retry": retry}).retry == retry


def test_all_wrong_keys_of_a_job_are_reported() -> None:
    with pytest.raises(JobError) as caught:
        convert_job(
            {"func": "a:b", "evry": "1h", "catch_up": "lates", "timeout": "x", "retry": {"atempts": 2}, "paused": 7},
            "jobs[2]",
        )

    assert str(caught.value).splitlines() == [
        "jobs[2].evry: unknown key; did you mean 'every'?",
        "jobs[2].retry.atempts: unknown key; did you mean 'attempts'?",
        "jobs[2]: 'id' is missing",
        "jobs[2].catch_up: expected one of 'latest', 'all', 'none', got 'lates'; did you mean 'latest'?",
        'jobs[2].timeout: expected a duration such as "500ms", "10s", "1h 30m" or a number of seconds, got \'x\'',
        "jobs[2].paused: expected true or false, got integer 7",
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"cron": "@daily", "every": "1h"},
            "job.every: job 'x' has cron and every: give one of",
        ),
        ({"retry": {"attempts": 0}}, "job.retry: retry needs attempts >= 1"),
        ({"limits": {"memory": 1}}, "job.limits: job 'x' has limits"),
        ({"progress_patterns": [{"match": "("}]}, "job.progress_patterns[0]: progress pattern '(' is not a valid"),
        ({"at": "2026"}, "job.at: expected a time such as 2026-12-01T18:00:00+08:00, got '2026'"),
        ({"max_instances": "x"}, "job.max_instances: expected integer, got text"),
        ({"steps": [3]}, "job.steps[0]: expected text or table, got integer"),
        ({"at": "tomorrow"}, "job.at: expected a time such as 2026-12-01T18:00:00+08:00"),
    ],
)
def test_an_invalid_job_is_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(JobError) as caught:
        convert_job({"id": "x", "func": "a:b", **keys})

    assert str(caught.value).startswith(problem)


def test_the_consequence_of_a_problem_is_not_a_second_problem() -> None:
    with pytest.raises(JobError) as caught:
        convert_job({"id": "x", "func": "a:b", "limits": {"memory": 1}, "runner": 5})

    assert str(caught.value) == "job.runner: expected text, got integer 5"

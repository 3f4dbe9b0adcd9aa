"""Configuration: what is valid is resolved, what is wrong is said to the letter, an edit is noticed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from visiondrift.config import (
    Config,
    ConfigWatcher,
    MonitoringConfig,
    ThresholdsConfig,
    config_digest,
    config_keys,
    load_config,
)
from visiondrift.config.monitoring import RESERVED_LABELS
from visiondrift.config.schema import MONITORING_FILE, THRESHOLDS_FILE
from visiondrift.config.starting import STARTING_THRESHOLDS
from visiondrift.config.units import format_duration, format_rate, format_size, parse_duration, parse_rate, parse_size
from visiondrift.errors import ConfigError
from visiondrift.signals import BY_NAME

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "exporter" / "config"
GOLDENS = ROOT / "tests" / "goldens" / "config"

MODELS = "models:\n  - {name: cats, reference: cats, classes: [tabby, siamese], slices: [camera]}\n"
LEVELS = "defaults:\n  signals:\n    embedding_drift: {warning: 0.3, critical: 0.5}\n"


def write(directory: Path, monitoring: str = MODELS, thresholds: str = LEVELS) -> Path:
    (directory / MONITORING_FILE).write_text(monitoring, encoding="utf-8")
    (directory / THRESHOLDS_FILE).write_text(thresholds, encoding="utf-8")
    return directory


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(directory)
    return [problem.removeprefix(f"{directory}/") for problem in caught.value.problems]


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir()))
def test_a_bad_configuration_is_refused_in_exactly_these_words(case: str) -> None:
    expected = (GOLDENS / case / "expected.txt").read_text(encoding="utf-8")
    assert "\n".join(problems(GOLDENS / case)) + "\n" == expected


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDENS.iterdir()))
def test_no_word_of_the_libraries_reaches_the_reader(case: str) -> None:
    text = (GOLDENS / case / "expected.txt").read_text(encoding="utf-8")
    for foreign in ("Input should", "pydantic", "Value error", "Field required", "JSON", "[key]", "Traceback", "None"):
        assert foreign not in text


def test_the_shipped_configuration_is_valid_and_gives_every_signal_two_levels() -> None:
    config = load_config(SHIPPED)
    levels = config.thresholds.resolve("digits-demo", "all")
    assert set(levels) == set(BY_NAME)
    assert all(level.warning is not None and level.critical is not None for level in levels.values())


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert problems(tmp_path / "no") == [
        f"{tmp_path / 'no'}: it does not exist; accepted is a directory with monitoring.yml and thresholds.yml"
    ]


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / MONITORING_FILE).unlink()
    (tmp_path / MONITORING_FILE).mkdir()
    assert problems(tmp_path) == ["monitoring.yml: it cannot be read (Is a directory); accepted is a readable file"]


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path, "#" * 2**20 + "\n" + MODELS)
    assert problems(tmp_path) == ["monitoring.yml: it is larger than 1 MiB; accepted is a file of settings"]


@given(monitoring=st.text(), thresholds=st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_ends_in_a_config_error_and_nothing_else(
    monitoring: str, thresholds: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / MONITORING_FILE).write_bytes(monitoring.encode("utf-8", "surrogatepass"))
    (directory / THRESHOLDS_FILE).write_bytes(thresholds.encode("utf-8", "surrogatepass"))
    assert problems(directory)


KEYS = st.sampled_from(
    ["models", "defaults", "signals", "server", "windows", "1h", "cats", "slices", "name", "embedding_drift", "warning"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(monitoring=VALUES, thresholds=VALUES)
@settings(max_examples=150, deadline=None)
def test_any_yaml_is_valid_or_ends_in_a_config_error(
    monitoring: object, thresholds: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Values of every type in every place, real keys among them: the checks across entries hold out too."""
    directory = write(tmp_path_factory.mktemp("any"), yaml.safe_dump(monitoring), yaml.safe_dump(thresholds))
    found: tuple[str, ...] = ()
    try:
        load_config(directory)
    except ConfigError as error:
        found = error.problems or ("nothing said",)
    assert all(problem.startswith(f"{directory}/") for problem in found)


def test_models_inherit_what_they_do_not_say(tmp_path: Path) -> None:
    text = (
        "defaults: {evaluate_every: 2m, low_confidence_below: 0.4}\n"
        "models:\n"
        "  - {name: cats, reference: cats, evaluate_every: 30s, windows: {15m: {min_samples: 50}}}\n"
        "  - {name: dogs, reference: dogs, embedding: {name: own, dimension: 64}}\n"
    )
    cats, dogs = load_config(write(tmp_path, text)).models
    assert (cats.evaluate_every, dogs.evaluate_every) == (30, 120)
    assert cats.low_confidence_below == dogs.low_confidence_below == 0.4
    assert {name: window.min_samples for name, window in cats.windows.items()} == {"15m": 50}
    assert set(dogs.windows) == {"1h", "24h"}
    assert cats.max_slices == 50


def test_an_override_replaces_one_severity_and_null_takes_it_away(tmp_path: Path) -> None:
    text = LEVELS + (
        "models:\n  cats:\n    owner: cat-team\n    signals: {embedding_drift: {critical: 0.6}}\n"
        "    slices:\n      camera=north: {embedding_drift: {warning: null}}\n"
    )
    thresholds = load_config(write(tmp_path, thresholds=text)).thresholds
    assert thresholds.resolve("cats", "all")["embedding_drift"].model_dump() == {"warning": 0.3, "critical": 0.6}
    north = thresholds.resolve("cats", "camera=north")["embedding_drift"]
    assert (north.warning, north.critical) == (None, 0.6)
    assert (thresholds.owner("cats"), thresholds.owner("dogs")) == ("cat-team", "unowned")


SOURCE = "collect:\n  sources:\n    - {{name: hall, path: hall.mp4, model: {model}, {entries}}}\n"


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("every: 500ms, look: 1s", "accepted is a look of at most 500ms (every), or none"),
        (
            "every: 1s, start: yesterday",
            "start: 'yesterday' is no time with its zone; accepted is a time with its zone",
        ),
        ("every: 1s, start: 2026-11-02T08:00:00", "is no time with its zone"),
        ("every: 1s, start: 1790000000", "is no time with its zone"),
        ('every: 1s, version: "a,b"', "accepted are 1 to 64 printable characters"),
        ('every: 1s, slices: {camera: "x=y"}', "accepted are 1 to 64 printable characters"),
        ("every: 1s, start: 2026-11-02T08:00:00Z, watch: true", "start is of a recording, and watch for folders"),
    ],
)
def test_a_source_that_cannot_be_read_as_it_says_is_a_mistake(tmp_path: Path, entries: str, says: str) -> None:
    (problem,) = problems(write(tmp_path, MODELS + SOURCE.format(model="cats", entries=entries)))
    assert says in problem


@pytest.mark.parametrize("password", ["plain", "pa/ss", "pa#ss", "pa?ss", "pa@ss"])
def test_a_password_in_an_address_is_a_mistake_and_not_shown(tmp_path: Path, password: str) -> None:
    source = f"{{name: hall, url: 'rtsp://viewer:{password}@10.0.0.7/x', model: cats, every: 1s}}"
    (problem,) = problems(write(tmp_path, f"{MODELS}collect:\n  sources:\n    - {source}\n"))
    assert "there is a password in the address" in problem
    assert password not in problem


def test_a_model_server_of_a_model_without_classes_is_a_mistake(tmp_path: Path) -> None:
    text = "models: [{name: dogs, reference: dogs}]\n"
    server = 'every: 1s, model_server: {url: "http://models:8000"}'
    assert problems(write(tmp_path, text + SOURCE.format(model="dogs", entries=server))) == [
        "monitoring.yml:4: collect.sources[0].model_server: model dogs has no classes, so a server cannot be asked for "
        "their confidences; accepted is to list its classes, or to leave model_server out"
    ]
    assert load_config(write(tmp_path, MODELS + SOURCE.format(model="cats", entries=server))).digest


@pytest.mark.parametrize("block", ["auto", "30s", "1h30m", "scene", "clip_2"])
def test_a_block_is_auto_a_duration_or_the_name_of_a_column(tmp_path: Path, block: str) -> None:
    text = f"defaults: {{block: {block}}}\nmodels:\n  - {{name: cats, reference: cats}}\n"
    assert load_config(write(tmp_path, text)).models[0].block == block


def test_a_model_without_a_block_estimates_it_and_one_with_its_own_does_not_inherit(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)).models[0].block == "auto"
    text = "defaults: {block: 1m}\nmodels:\n  - {name: cats, reference: cats, block: scene}\n"
    assert load_config(write(tmp_path, text)).models[0].block == "scene"


@pytest.mark.parametrize("signal", [name for name, signal in BY_NAME.items() if signal.calibrated])
def test_every_calibrated_signal_may_leave_its_levels_to_the_budget(tmp_path: Path, signal: str) -> None:
    text = f"defaults:\n  signals:\n    {signal}: {{warning: auto, critical: auto}}\n"
    given = load_config(write(tmp_path, thresholds=text)).thresholds.resolve("cats", "all")[signal]
    assert (given.warning, given.critical) == ("auto", "auto")


@pytest.mark.parametrize("signal", [name for name, signal in BY_NAME.items() if not signal.calibrated])
def test_a_signal_without_a_null_may_not(tmp_path: Path, signal: str) -> None:
    text = f"defaults:\n  signals:\n    {signal}: {{warning: auto}}\n"
    assert problems(write(tmp_path, thresholds=text)) == [
        f"thresholds.yml:3: defaults.signals.{signal}.warning: {signal} has no level of its own by the budget; "
        "accepted is a number or null"
    ]


@pytest.mark.parametrize("levels", ["{warning: auto, critical: 0.01}", "{warning: 0.99, critical: auto}"])
def test_a_level_by_the_budget_has_no_order_yet(tmp_path: Path, levels: str) -> None:
    text = f"defaults:\n  signals:\n    embedding_drift: {levels}\n"
    assert load_config(write(tmp_path, thresholds=text)).digest


def test_an_order_with_an_inherited_number_is_checked_and_with_an_inherited_auto_is_not(tmp_path: Path) -> None:
    own = "models: {cats: {signals: {embedding_drift: {critical: 0.2}}}}\n"
    automatic = "defaults: {signals: {embedding_drift: {warning: auto, critical: auto}}}\n"
    assert load_config(write(tmp_path, thresholds=automatic + own)).digest
    (problem,) = problems(write(tmp_path, thresholds=LEVELS + own))
    assert "warning 0.3 (inherited) is above critical 0.2" in problem


def test_auto_may_be_taken_back_by_a_number_or_by_nothing(tmp_path: Path) -> None:
    text = (
        "defaults: {signals: {embedding_drift: {warning: auto, critical: auto}}}\n"
        "models: {cats: {slices: {camera=north: {embedding_drift: {warning: 0.4, critical: null}}}}}\n"
    )
    thresholds = load_config(write(tmp_path, thresholds=text)).thresholds
    north = thresholds.resolve("cats", "camera=north")["embedding_drift"]
    assert (north.warning, north.critical) == (0.4, None)
    assert thresholds.resolve("cats", "camera=south")["embedding_drift"].warning == "auto"


DAY = 86_400.0


def test_the_budget_is_one_warning_a_week_and_one_critical_page_a_quarter_where_nothing_is_said() -> None:
    budget = ThresholdsConfig().budget("cats")
    assert (budget.rate("warning"), budget.rate("critical")) == (1 / (7 * DAY), 1 / (90 * DAY))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("defaults: {budget: {warning: 1 per 90d, critical: 1 per 7d}}\n", "1: defaults.budget: critical 1 per 7d"),
        ("defaults: {budget: {critical: 2 per 7d}}\n", "1: defaults.budget: critical 1 per 3d12h"),
        ("models: {cats: {budget: {warning: 1 per 91d}}}\n", "1: models.cats.budget: critical 1 per 90d"),
    ],
)
def test_a_budget_of_more_critical_pages_than_warnings_is_a_mistake(tmp_path: Path, text: str, where: str) -> None:
    (problem,) = problems(write(tmp_path, thresholds=text))
    assert f"thresholds.yml:{where} is more often than warning" in problem
    assert "accepted is a critical not more often than warning" in problem


def test_a_models_budget_replaces_one_severity_at_a_time(tmp_path: Path) -> None:
    text = (
        "defaults: {budget: {warning: 2 per 7d, critical: 1 per 365d}}\n"
        "models: {cats: {budget: {warning: 0.5 per 30d}}}\n"
    )
    thresholds = load_config(write(tmp_path, thresholds=text)).thresholds
    assert thresholds.budget("cats").warning == pytest.approx(0.5 / (30 * DAY))
    assert thresholds.budget("cats").critical == pytest.approx(1 / (365 * DAY))
    assert thresholds.budget("dogs").warning == pytest.approx(2 / (7 * DAY))


@given(days=st.integers(1, 3650))
def test_rates_are_read_as_they_are_written(days: int) -> None:
    assert parse_rate(format_rate(1 / (days * DAY))) == pytest.approx(1 / (days * DAY))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 per",
        "per 7d",
        "1 per 7 d",
        "-1 per 7d",
        "0 per 7d",
        "1 per 0d",
        "1/7d",
        7,
        "1 per 999999999999999y",
        "1 per 11y",
        "1 per 59s",
        "999999 per 1ms",
        "1001 per 1d",
    ],
)
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a (rate|duration); accepted is"):
        parse_rate(text)


@pytest.mark.parametrize("level", [".inf", "-.inf", ".nan", "1" + 400 * "0"])
def test_a_number_that_is_none_is_no_level(tmp_path: Path, level: str) -> None:
    (problem,) = problems(write(tmp_path, thresholds=f"defaults: {{signals: {{missing_ratio: {{warning: {level}}}}}}}"))
    assert "is no level; accepted is a number, auto (the level that keeps to the budget), or null" in problem


def test_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    text = (
        "models:\n"
        "  - &cats {name: cats, reference: cats, slices: [camera], evaluate_every: 30s}\n"
        "  - <<: *cats\n    name: dogs\n"
    )
    cats, dogs = load_config(write(tmp_path, text)).models
    assert (dogs.name, dogs.slices, dogs.evaluate_every) == ("dogs", cats.slices, cats.evaluate_every)


def test_a_class_may_look_like_a_date(tmp_path: Path) -> None:
    text = "models:\n  - {name: cats, reference: cats, classes: [2024-01-01]}\n"
    assert load_config(write(tmp_path, text)).models[0].classes == ("2024-01-01",)


def test_paths_are_relative_to_the_files(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "reference_data: ../references\n" + MODELS))
    assert config.path(config.monitoring.reference_data) == tmp_path.parent / "references"


def test_addresses_lose_their_last_slash(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "server: {grafana_url: 'https://grafana.example/g/'}\n" + MODELS))
    assert config.monitoring.server.grafana_url == "https://grafana.example/g"


def token_config(tmp_path: Path) -> Config:
    (tmp_path / "config").mkdir()
    return load_config(write(tmp_path / "config", MODELS + "server:\n  token_file: ../token\n"))


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    config = token_config(tmp_path)
    (tmp_path / "token").write_text("s3cret\n")
    assert config.read_token() == "s3cret"
    assert "s3cret" not in repr(config)


def test_no_token_is_asked_for_where_no_file_is_named(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)).read_token() is None


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read (No such file or directory)"), (b"\n", "is empty"), (b"\xff", "cannot be read (it is not")],
)
def test_a_token_file_without_a_token_stops_the_service(content: bytes | None, says: str, tmp_path: Path) -> None:
    """Valid for check-config, which may run elsewhere; serving without the token would let everyone in."""
    config = token_config(tmp_path)
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.read_token()
    place = f"{tmp_path / 'config' / 'monitoring.yml'}:4: server.token_file: {tmp_path / 'token'} {says}"
    assert str(caught.value).startswith(place)


def test_the_digest_follows_the_content_of_either_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert config_digest(tmp_path) == config.digest
    os.utime(tmp_path / MONITORING_FILE, (0, 0))
    assert config_digest(tmp_path) == config.digest
    write(tmp_path, MODELS + "# a comment\n")
    assert config_digest(tmp_path) != config.digest
    write(tmp_path, thresholds=LEVELS + "# a comment\n")
    assert config_digest(tmp_path) not in {config.digest, ""}
    write(tmp_path)
    assert config_digest(tmp_path) == config.digest
    (tmp_path / MONITORING_FILE).unlink()
    assert config_digest(tmp_path) != config.digest


def test_a_watcher_hands_over_an_edit_once_it_has_settled(tmp_path: Path) -> None:
    watcher = ConfigWatcher(tmp_path, load_config(write(tmp_path)).digest)
    assert watcher.poll() is None
    write(tmp_path, thresholds=LEVELS.replace("0.3", "0.2"))
    assert watcher.poll() is None
    new = watcher.poll()
    assert new is not None
    assert new.thresholds.resolve("cats", "all")["embedding_drift"].warning == 0.2
    assert new.digest == config_digest(tmp_path)
    assert watcher.poll() is None


def test_a_watcher_notices_a_directory_put_in_the_place_of_another(tmp_path: Path) -> None:
    """As a mounted ConfigMap or an editor that replaces files does: other inodes, other times."""
    live, new = tmp_path / "live", tmp_path / "new"
    live.mkdir()
    new.mkdir()
    watcher = ConfigWatcher(live, load_config(write(live)).digest)
    write(new, thresholds=LEVELS.replace("0.5", "0.9"))
    shutil.rmtree(live)
    new.rename(live)
    assert [watcher.poll() is None, watcher.poll() is None] == [True, False]


def test_a_watcher_complains_of_a_mistake_once_and_takes_the_repair(tmp_path: Path) -> None:
    watcher = ConfigWatcher(tmp_path, load_config(write(tmp_path)).digest)
    write(tmp_path, thresholds="defaults: [")
    assert watcher.poll() is None, "it might be half written"
    with pytest.raises(ConfigError, match=r"thresholds\.yml:1: this is not YAML"):
        watcher.poll()
    assert watcher.poll() is None
    write(tmp_path)
    assert watcher.poll() is None
    assert watcher.poll() is not None


@given(seconds=st.integers(1, 10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(size=st.integers(1, 2**50))
def test_sizes_are_read_as_they_are_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("250ms", 0.25), ("1y", 31536000), ("2w", 1209600), ("1d12h", 129600), ("90s", 90)],
)
def test_a_duration_follows_the_grammar_of_prometheus(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "m", "1m1h", "1.5h", "-1h", "0s", "1h1h", "٣m", "9" * 400 + "d", 5, True]
)
def test_what_is_no_duration_in_prometheus_is_none_here(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; accepted is"):
        parse_duration(text)


def test_every_key_has_a_description_and_a_name_of_its_own() -> None:
    keys = config_keys()
    assert len({(key.file, key.name) for key in keys}) == len(keys)
    assert all(key.description.endswith(".") for key in keys), [k.name for k in keys if k.description[-1:] != "."]


def test_the_keys_are_those_of_the_models() -> None:
    """Each default that is listed is what leaving the key out gives; the nested names are there."""
    by_name = {key.name: key for key in config_keys() if key.file == MONITORING_FILE}
    assert by_name["server.port"].default == str(MonitoringConfig.model_fields["server"].default.port)
    assert by_name["log.keep"].default == "14d"
    assert by_name["models[].name"].default == "required"
    assert by_name["models[].evaluate_every"].default == "from defaults.evaluate_every"
    assert by_name["defaults.windows.<window>.min_samples"].accepted == "a whole number of at least 2"
    names = {key.name for key in config_keys() if key.file == THRESHOLDS_FILE}
    assert "models.<model>.slices.<label=value>.<signal>.critical" in names


def test_the_reserved_labels_hold_the_columns_of_the_file_format() -> None:
    assert {"time", "id", "embedding", "predicted_class", "label", "latency_ms"} <= RESERVED_LABELS


def test_thresholds_of_nobody_are_empty() -> None:
    assert ThresholdsConfig().resolve("cats", "all") == {}


def test_loading_imports_neither_torch_nor_evidently_nor_pyarrow() -> None:
    """check-config answers at once."""
    code = (
        "import sys, pathlib; from visiondrift.config import load_config; load_config(pathlib.Path(sys.argv[1])); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'evidently', 'pyarrow', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, SHIPPED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_thresholds_to_start_with_are_those_of_the_shipped_file() -> None:
    shipped = load_config(ROOT / "exporter" / "config").thresholds
    assert shipped.defaults.signals == STARTING_THRESHOLDS.defaults.signals

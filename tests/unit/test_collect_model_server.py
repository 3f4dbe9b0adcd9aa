"""How a model server is asked for confidences, and what a frame costs that gets none."""

import base64
import io
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from collect_parts import answering, jpeg, scene
from visiondrift.collect import model_server
from visiondrift.collect.model_server import ModelServer
from visiondrift.config.collect import ModelServerConfig
from visiondrift.errors import BadInput

CLASSES = ("cat", "dog", "fox")
PIXELS = {"name": "image", "datatype": "FP32", "shape": [-1, 3, 16, 24]}


class Network:
    """A tiny model behind KServe's v2 protocol, and behind plain JSON."""

    def __init__(self, takes: dict[str, Any] | None = PIXELS, *, says: Any = None) -> None:
        self.takes = takes
        self.says = says
        self.status = 200
        self.asked: list[dict[str, Any]] = []

    def __call__(self, path: str, body: Any, _: object) -> tuple[int, Any]:
        if body is None:
            return self.status, {"name": path.rpartition("/")[2], "inputs": [self.takes] if self.takes else []}
        self.asked.append(body)
        if path == "/":
            return self.status, {"confidences": self.says or {"cat": 0.75, "dog": 0.25}}
        outputs = [{"name": "n", "data": [7]}, {"name": "p", "data": self.says or [0.7, 0.2, 0.1]}]
        return self.status, {"outputs": outputs}


def client(
    url: str,
    said: list[str] | None = None,
    *,
    waits: bool = False,
    stop: threading.Event | None = None,
    **settings: Any,
) -> ModelServer:
    given = ModelServerConfig.model_validate({"url": url, **settings})
    tell = [].append if said is None else said.append
    return ModelServer(given, model="pets", classes=CLASSES, tell=tell, stop=stop or threading.Event(), waits=waits)


def asked(network: Network, said: list[str] | None = None, **settings: Any) -> tuple[ModelServer, Any]:
    with answering(network) as url:
        server = client(url, said, **settings)
        try:
            server.open()
            return server, server.ask(scene(0), jpeg(scene(0)))
        finally:
            server.close()


def test_kserve_gives_the_confidences_of_the_output_that_has_one_for_each_class() -> None:
    _, answer = asked(Network())
    assert answer.confidences == {"cat": 0.7, "dog": 0.2, "fox": 0.1}
    assert answer.latency_ms > 0


@pytest.mark.parametrize(
    ("datatype", "shape", "sent"),
    [
        ("FP32", [-1, 3, 16, 24], [1, 3, 16, 24]),
        ("FP32", [-1, 16, 24, 3], [1, 16, 24, 3]),
        ("UINT8", [-1, -1, -1, 3], [1, 224, 224, 3]),
    ],
)
def test_pixels_are_laid_out_as_the_model_takes_them(datatype: str, shape: list[int], sent: list[int]) -> None:
    network = Network({"name": "image", "datatype": datatype, "shape": shape})
    asked(network)
    tensor = network.asked[0]["inputs"][0]
    assert (tensor["shape"], tensor["datatype"]) == (sent, datatype)
    pixels = np.array(tensor["data"]).reshape(sent)[0]
    last = np.moveaxis(pixels, 0, 2) if sent[1] == 3 else pixels
    height, width = last.shape[:2]
    expected = np.asarray(scene(0).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(last * (1 if datatype == "UINT8" else 255), expected, atol=0.01)


def test_pixels_are_normalised_where_that_is_said() -> None:
    network = Network()
    asked(network)
    asked(network, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    plain, normal = (np.array(body["inputs"][0]["data"]) for body in network.asked)
    np.testing.assert_allclose(normal, (plain - 0.5) / 0.25, atol=1e-5)


def test_a_batch_of_one_may_come_as_nested_lists() -> None:
    _, answer = asked(Network(says=[[0.5, 0.4, 0.1]]))
    assert answer.confidences == {"cat": 0.5, "dog": 0.4, "fox": 0.1}


def test_a_model_that_takes_files_gets_the_file() -> None:
    network = Network({"name": "file", "datatype": "BYTES", "shape": [-1]})
    asked(network)
    sent = base64.b64decode(network.asked[0]["inputs"][0]["data"][0])
    assert Image.open(io.BytesIO(sent)).size == (64, 64)


def test_plain_json_may_name_some_of_the_classes() -> None:
    network = Network()
    _, answer = asked(network, protocol="json")
    assert answer.confidences == {"cat": 0.75, "dog": 0.25}
    assert network.asked[0]["model"] == "pets"


def test_logits_become_confidences() -> None:
    _, answer = asked(Network(says=[2.0, 1.0, 0.0]), outputs="logits")
    assert sum(answer.confidences.values()) == pytest.approx(1)
    assert answer.confidences["cat"] / answer.confidences["dog"] == pytest.approx(np.e)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ([2.0, 1.0, 0.0], "outputs: logits"),
        ([0.5, 0.5], "no output has 3 values"),
        (["a", "b", "c"], "not numbers"),
        ([0.5, float("nan"), 0.5], "not finite"),
    ],
)
def test_an_answer_that_is_no_confidences_costs_the_frame_nothing_else(says: list[Any], words: str) -> None:
    said: list[str] = []
    server, answer = asked(Network(says=says), said)
    assert (answer, server.unanswered) == (None, 1)
    assert words in said[0]


def test_a_server_that_is_away_is_told_once_and_left_alone_for_a_while() -> None:
    said: list[str] = []
    server = client("http://127.0.0.1:9", said)
    server.open()
    assert [server.ask(scene(0), b"") for _ in range(3)] == [None] * 3
    assert (server.unanswered, len(said)) == (3, 1)
    server.close()


def test_a_server_that_comes_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "_LEFT_ALONE", 0.0)
    network = Network()
    network.status = 503
    with answering(network) as url:
        server = client(url, protocol="json")
        assert server.ask(scene(0), b"x") is None
        network.status = 200
        assert server.ask(scene(0), b"x") is not None
        server.close()


def test_a_recording_waits_for_a_server_that_comes_back() -> None:
    """It is read within milliseconds: left alone for a while, the server would be asked of no frame at all."""
    network, said = Network(), list[str]()
    network.status = 503
    threading.Timer(0.5, setattr, (network, "status", 200)).start()
    with answering(network) as url:
        settings = ModelServerConfig(url=url, protocol="json")
        server = ModelServer(
            settings, model="pets", classes=CLASSES, tell=said.append, stop=threading.Event(), waits=True
        )
        assert all(server.ask(scene(0), b"x") for _ in range(3))
        server.close()
    assert (server.unanswered, len(said)) == (0, 1)
    assert "each frame waits 5 s for it" in said[0]


@pytest.mark.parametrize(("timeout", "is_stopped"), [("300ms", False), ("30s", True)])
def test_a_recording_waits_no_longer_than_the_timeout_and_not_after_a_stop(timeout: str, is_stopped: bool) -> None:
    stop = threading.Event()
    server = client("http://127.0.0.1:9", waits=True, stop=stop, protocol="json", timeout=timeout)
    began = time.monotonic()
    if is_stopped:
        threading.Timer(0.3, stop.set).start()
    assert server.ask(scene(0), b"x") is None
    assert 0.1 <= time.monotonic() - began < 10
    assert server.unanswered == 1
    server.close()


def test_a_recording_leaves_a_server_alone_that_is_gone_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "_PATIENCE", 0.4)
    said: list[str] = []
    server = client("http://127.0.0.1:9", said, waits=True, protocol="json", timeout="300ms")
    began = time.monotonic()
    assert [server.ask(scene(0), b"x") for _ in range(200)] == [None] * 200
    assert time.monotonic() - began < 10  # 60 s where each of them waits
    assert server.unanswered == 200
    assert ["each frame waits" in sentence for sentence in said] == [True, False]
    server.close()


def test_a_server_that_hangs_costs_a_frame_the_timeout_once_and_nothing_after_a_stop() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        server = client(
            f"http://127.0.0.1:{hanging.getsockname()[1]}", waits=True, stop=stop, protocol="json", timeout="500ms"
        )
        began = time.monotonic()
        assert server.ask(scene(0), b"x") is None
        assert 0.4 < time.monotonic() - began < 0.95
        stop.set()
        began = time.monotonic()
        assert [server.ask(scene(0), b"x") for _ in range(50)] == [None] * 50
        assert time.monotonic() - began < 0.4
        assert server.unanswered == 51
        server.close()


def test_a_server_that_fails_every_other_frame_is_told_of_once_in_a_while() -> None:
    network, said = Network(), list[str]()
    with answering(network) as url:
        server = client(url, said, waits=True, protocol="json")
        for number in range(6):
            network.status = 400 if number % 2 else 200
            server.ask(scene(0), b"x")
        server.close()
    assert (server.unanswered, len(said)) == (3, 1)


def test_a_recording_asks_for_every_frame_a_server_that_refuses_one() -> None:
    network, said = Network(), list[str]()
    with answering(network) as url:
        settings = ModelServerConfig(url=url, protocol="json")
        server = ModelServer(
            settings, model="pets", classes=CLASSES, tell=said.append, stop=threading.Event(), waits=True
        )
        network.status = 400
        began = time.monotonic()
        assert server.ask(scene(0), b"x") is None
        network.status = 200
        assert server.ask(scene(1), b"x") is not None
        assert time.monotonic() - began < 2  # to wait does not help
        server.close()
    assert (server.unanswered, len(said)) == (1, 1)
    assert "each frame waits" not in said[0]


@pytest.mark.parametrize(
    "takes",
    [
        {"name": "text", "datatype": "INT64", "shape": [-1, 77]},
        {"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]},
        {"name": "image"},
    ],
)
def test_a_model_that_takes_no_image_is_refused_at_once(takes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"accepted|does not say"):
        asked(Network(takes))


def test_a_server_that_does_not_say_what_its_model_takes_is_told_of_with_what_to_do() -> None:
    with pytest.raises(
        BadInput, match=r"pets does not say what it takes; say it in monitoring.yml.*model_server.takes"
    ):
        asked(Network(None))


def test_what_the_model_takes_may_be_said_in_the_configuration() -> None:
    network = Network(None)
    _, answer = asked(network, takes={"name": "pixels", "datatype": "UINT8", "shape": [-1, 16, 24, 3]})
    tensor = network.asked[0]["inputs"][0]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("pixels", "UINT8", [1, 16, 24, 3])
    assert answer.confidences == {"cat": 0.7, "dog": 0.2, "fox": 0.1}


def test_a_file_has_no_shape_that_need_be_said() -> None:
    network = Network(None)
    asked(network, takes={"name": "picture", "datatype": "BYTES"})
    assert network.asked[0]["inputs"][0]["shape"] == [1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "json", "takes": {"name": "image", "datatype": "BYTES"}}, "protocol: kserve, or no takes"),
        ({"takes": {"name": "image", "datatype": "INT8"}}, "'BYTES', 'FP32', 'FP16' or 'UINT8'"),
        ({"takes": {"name": "image", "datatype": "FP32", "shape": [3, 224, 224]}}, "at least 4 items"),
    ],
)
def test_what_no_model_takes_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelServerConfig(url="http://127.0.0.1:9", **settings)


def test_a_model_without_classes_cannot_be_asked_for_confidences() -> None:
    with pytest.raises(BadInput, match="list its classes"):
        ModelServer(
            ModelServerConfig(url="http://x"), model="pets", classes=(), tell=lambda _: None, stop=threading.Event()
        )

"""What a pool may be asked to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.pool import PoolSettings, Replicas
from darkop_dist.scoring.pool.head import check_reachable, free_port
from darkop_dist.scoring.pool.settings import named_checkpoints, validated
from darkop_dist.scoring.server.access import AccessSettings
from darkop_dist.scoring.server.listen import Listen

MODELS = {"m": "cylinder-fno-v1"}
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(("text", "least", "most"), [("1", 1, 1), ("0..4", 0, 4), (" 2..3 ", 2, 3)])
def test_replicas_as_the_command_line_writes_them(text: str, least: int, most: int) -> None:
    found = Replicas.parse(text)
    assert (found.least, found.most) == (least, most)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "is no number and no range. Write 1, or 0..4"),
        ("-1", "is no number and no range"),
        ("0", "0 would never answer. Write 0..1"),
        ("4..2", "at least 4 and at most 2 replicas. Give the smaller number first"),
    ],
)
def test_replicas_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Replicas.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": {}}, "models: Dictionary should have at least 1 item"),
        ({"models": {"a/b": "x"}}, r"models: 'a/b' is no name. Use letters, digits"),
        ({"gpus": 1.5}, "gpus: above 1, a replica can have whole GPUs only. Give 0.25, or 2"),
        ({"cpus": -1}, "cpus: Input should be greater than or equal to 0"),
        ({"grpc_port": 8000}, "HTTP and gRPC cannot share port 8000. Give two"),
        ({"grpc_port": 70000}, "grpc_port: Input should be less than or equal to 65535"),
        ({"drain_s": 0}, "drain_s: Input should be greater than 0"),
        ({"tokens": 1}, "tokens: Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validated(PoolSettings, **{"models": MODELS, **values})


def test_all_mistakes_are_told_together() -> None:
    with pytest.raises(UserError, match=r"cpus: .*; drain_s: "):
        validated(PoolSettings, models=MODELS, cpus=-1, drain_s=-1)


def test_the_loopback_interface_needs_no_token() -> None:
    settings = PoolSettings(models=MODELS)
    settings.check()
    assert settings.address == "http://127.0.0.1:8000"
    assert settings.grpc_address is None


def test_other_interfaces_need_a_token_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"others can reach 0\.0\.0\.0, so a token is needed"):
        PoolSettings(models=MODELS, listen=Listen(EVERYWHERE)).check()
    monkeypatch.setenv("POOL_TOKEN", "t" * 32)
    access = AccessSettings(token_env="POOL_TOKEN")  # noqa: S106
    with pytest.raises(UserError, match=r"so TLS is needed"):
        PoolSettings(models=MODELS, listen=Listen(EVERYWHERE), access=access).check()
    with pytest.raises(InputFileError, match=r"no such file"):
        PoolSettings(
            models=MODELS, listen=Listen(EVERYWHERE, 8000, tmp_path / "no.crt", tmp_path / "no.key"), access=access
        ).check()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).touch()
    listen = Listen(EVERYWHERE, 8000, tmp_path / "tls.crt", tmp_path / "tls.key")
    settings = PoolSettings(models=MODELS, listen=listen, access=access, grpc_port=9000)
    settings.check()
    assert (settings.address, settings.grpc_address) == ("https://127.0.0.1:8000", "127.0.0.1:9000")
    PoolSettings(models=MODELS, listen=Listen(EVERYWHERE, insecure_behind_tls_proxy=True), access=access).check()
    monkeypatch.delenv("POOL_TOKEN")
    with pytest.raises(UserError, match=r"environment variable POOL_TOKEN, .* is not set"):
        settings.check()


def test_settings_travel_as_json_without_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    token = tmp_path / "token"
    token.write_text("s" * 40)
    token.chmod(0o600)
    settings = PoolSettings(models=MODELS, access=AccessSettings(token_file=Path("token"))).elsewhere()
    settings.check()
    text = settings.model_dump_json()
    assert "s" * 40 not in text
    assert PoolSettings.model_validate_json(text) == settings
    assert settings.access.token_file == token


def test_the_version_is_about_everything_but_the_models() -> None:
    settings = PoolSettings(models=MODELS)
    assert settings.version() == PoolSettings(models={"n": "elsewhere"}).version()
    assert settings.version() != PoolSettings(models=MODELS, cpus=2).version()


def test_checkpoints_are_served_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "odd=name").mkdir()
    found = named_checkpoints([f"{tmp_path}/v2/", f"first={tmp_path}/v1", f"{tmp_path}/odd=name"])
    assert found == {"v2": f"{tmp_path}/v2/", "first": f"{tmp_path}/v1", "odd=name": f"{tmp_path}/odd=name"}
    with pytest.raises(UserError, match=r"two checkpoints would be served as 'v2'. Write NAME=PATH"):
        named_checkpoints(["a/v2", "b/v2"])


def test_a_port_that_somebody_has() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"port {port} of 127\.0\.0\.1 cannot be had: .*in use. Give another one with --"
        ):
            free_port("127.0.0.1", port, "--port")
    with pytest.raises(UserError, match=r"port 80 of no\.such\.host\.invalid cannot be had"):
        free_port("no.such.host.invalid", 80, "--port")


def test_any_port_is_none_that_a_connection_may_have_taken_when_ray_listens() -> None:
    found = {free_port("127.0.0.1", 0, "--port") for _ in range(30)}
    assert len(found) > 20
    assert all(20_000 <= port < 32_768 for port in found)


def test_a_ray_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"'nowhere' is no Ray address. Write HOST:PORT"):
        check_reachable("nowhere")
    port = free_port("127.0.0.1", 0, "--port")
    with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: no Ray answers there .* Is the pool still running"):
        check_reachable(f"127.0.0.1:{port}")


def test_grpc_on_a_shared_ray_needs_a_token_and_a_proxy_before_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 32)
    token.chmod(0o600)
    closed, behind = Listen(), Listen(insecure_behind_tls_proxy=True)
    with_token = AccessSettings(token_file=token)
    for listen, access in ((closed, AccessSettings()), (closed, with_token), (behind, AccessSettings())):
        pool = PoolSettings(models=MODELS, listen=listen, access=access)
        pool.check_shared_ray(grpc=False)
        with pytest.raises(UserError, match=r"open to the network, without TLS, whatever the host is\. Leave it out"):
            pool.check_shared_ray(grpc=True)
    PoolSettings(models=MODELS, listen=behind, access=with_token).check_shared_ray(grpc=True)

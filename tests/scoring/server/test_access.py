"""Who is let in, how much, and where a server may listen."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkop_dist.errors import InputFileError, UserError
from darkop_dist.scoring.server.access import Access, AccessSettings
from darkop_dist.scoring.server.listen import Listen, check_listen
from darkop_dist.scoring.server.rate import RateLimit
from darkop_dist.scoring.wire.problem import Problem, RefusedError

TOKEN, OTHER = "a-token-of-32-characters-in-a-file", "the-next-token-that-replaces-it-soon"


VARIABLE = "SCORES_TOKEN"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n{OTHER}\n")
    path.chmod(0o600)
    return path


def refused(access: Access, authorization: str | None) -> Problem:
    with pytest.raises(RefusedError) as error:
        access.admit(authorization, "10.0.0.1")
    return error.value.problem


def test_without_tokens_everybody_is_let_in_by_address() -> None:
    access = Access()
    assert not access.needs_token
    assert access.admit(None, "10.0.0.1") != access.admit(None, "10.0.0.2")
    access.admit_events(access.admit("Bearer whatever", "10.0.0.1"), 10**9)


def test_tokens_of_a_file(token_file: Path) -> None:
    access = Access(AccessSettings(token_file=token_file))
    assert access.needs_token
    first, second = access.admit(f"Bearer {TOKEN}", "10.0.0.1"), access.admit(f"bearer {OTHER}", "10.0.0.2")
    assert first != second
    assert access.admit(f"Bearer {TOKEN}", "10.0.0.9") == first  # a client is its token, wherever it is
    problem = refused(access, None)
    assert (problem.code, problem.status) == ("unauthorized", 401)
    assert "carries no bearer token. Send the header authorization: Bearer TOKEN" in problem.detail
    for wrong in (
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        "Bearer ",
        "Bearer",
        "",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer \udce4",
    ):
        problem = refused(access, wrong)
        assert "a token that is not known here" in problem.detail
        assert TOKEN not in problem.model_dump_json()


def test_a_token_of_the_environment() -> None:
    access = Access(AccessSettings(token_env=VARIABLE), {"SCORES_TOKEN": f"{TOKEN}\n"})
    assert access.admit(f"Bearer {TOKEN}", "10.0.0.1")
    assert refused(access, f"Bearer {OTHER}").code == "unauthorized"
    with pytest.raises(UserError, match="variable SCORES_TOKEN, which is to hold the server's token, is not set"):
        Access(AccessSettings(token_env=VARIABLE), {})
    with pytest.raises(UserError, match="holds less than 16 characters") as short:
        Access(AccessSettings(token_env=VARIABLE), {"SCORES_TOKEN": "qwerty"})
    assert "qwerty" not in str(short.value)


def test_tokens_are_neither_shown_nor_pickled(token_file: Path) -> None:
    access = Access(AccessSettings(token_file=token_file))
    assert TOKEN not in repr(vars(access))
    sent = pickle.dumps(access)
    assert TOKEN.encode() not in sent
    arrived = pickle.loads(sent)  # noqa: S301  # made above
    assert arrived.admit(f"Bearer {OTHER}", "10.0.0.1")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_token_file_that_others_can_read_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(InputFileError, match=r"others than its owner can read the token\. Run: chmod 600") as error:
        Access(AccessSettings(token_file=token_file))
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"short", f"{TOKEN}\nshort\n".encode(), b"\xff\xfe\xff" * 20])
def test_a_file_without_good_tokens_is_refused(token_file: Path, content: bytes) -> None:
    token_file.write_bytes(content)
    with pytest.raises(InputFileError, match=r"holds no token, or one of less than 16|cannot be read"):
        Access(AccessSettings(token_file=token_file))


def test_a_token_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"the token cannot be read: .*No such file"):
        Access(AccessSettings(token_file=tmp_path / "absent"))


def test_requests_are_limited_for_each_client(token_file: Path) -> None:
    access = Access(AccessSettings(token_file=token_file, requests_per_s=0.5, burst_s=4.0))
    for _ in range(2):
        access.admit(f"Bearer {TOKEN}", "10.0.0.1")
    problem = refused(access, f"Bearer {TOKEN}")
    assert (problem.code, problem.status) == ("rate-limited", 429)
    assert "more than 0.5 requests a second came from this client" in problem.detail
    assert problem.retry_after_s is not None
    assert 1.5 < problem.retry_after_s <= 2.0
    access.admit(f"Bearer {OTHER}", "10.0.0.1")
    # who guesses tokens is limited too, and keeps nobody else out
    assert [refused(access, "Bearer no").code for _ in range(3)] == ["unauthorized", "unauthorized", "rate-limited"]
    access.admit(f"Bearer {OTHER}", "10.0.0.1")


def test_events_are_limited_for_each_client() -> None:
    access = Access(AccessSettings(events_per_s=1000.0, burst_s=2.0))
    one, two = access.admit(None, "10.0.0.1"), access.admit(None, "10.0.0.2")
    access.admit_events(one, 5000)  # more than the bucket: let through once, and paid for afterwards
    with pytest.raises(RefusedError, match="more than 1000 events a second") as error:
        access.admit_events(one, 1)
    assert error.value.problem.retry_after_s == pytest.approx(3.0, abs=0.1)
    access.admit_events(two, 2000)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 30)), min_size=1, max_size=40),
    st.floats(0.5, 20),
    st.floats(0.1, 5),
)
def test_no_more_than_the_rate_comes_through(asked: list[tuple[float, float]], per_s: float, burst_s: float) -> None:
    now = [0.0]
    limit = RateLimit(per_s, burst_s, lambda: now[0])
    size, taken, last = max(1.0, per_s * burst_s), 0.0, 0.0
    for pause, amount in asked:
        now[0] += pause
        wait_s = limit.take("me", amount)
        if wait_s == 0:
            taken, last = taken + amount, amount
            # what came before the last request was paid for
            assert taken - last <= size + per_s * now[0] + 1e-6
        else:
            now[0] += wait_s * (1 + 1e-9) + 1e-9
            assert limit.take("me", amount) == 0  # the promise is kept
            taken, last = taken + amount, amount


def test_clients_without_number_cost_no_memory_without_number() -> None:
    limit = RateLimit(1.0, 1.0)
    for number in range(10_000):
        limit.take(str(number))
    assert len(limit._levels) <= 4096
    assert limit.take("9999") > 0


@pytest.mark.parametrize("settings", [{"requests_per_s": 0.0}, {"events_per_s": -1.0}, {"burst_s": float("nan")}])
def test_rates_that_let_nothing_through_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Give a number above zero, or none for no limit"):
        AccessSettings(**settings)


class TestListen:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
    def test_this_machine_needs_nothing(self, host: str) -> None:
        check_listen(Listen(host=host), needs_token=False)

    def test_the_default_is_this_machine(self) -> None:
        assert Listen().is_loopback

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "scores.example.org", ""])  # noqa: S104
    def test_anything_else_needs_a_token_and_tls(self, host: str, tmp_path: Path) -> None:
        files = {"certificate": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
        for path in files.values():
            path.touch()
        with pytest.raises(UserError, match=f"others can reach {host}, so a token is needed"):
            check_listen(Listen(host=host, **files), needs_token=False)
        with pytest.raises(UserError, match=f"others can reach {host}, so TLS is needed"):
            check_listen(Listen(host=host), needs_token=True)
        with pytest.raises(UserError, match="a token is needed"):
            check_listen(Listen(host=host, insecure_behind_tls_proxy=True), needs_token=False)
        check_listen(Listen(host=host, **files), needs_token=True)
        check_listen(Listen(host=host, insecure_behind_tls_proxy=True), needs_token=True)

    def test_files_of_tls(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="TLS needs both a certificate and its key"):
            check_listen(Listen(certificate=tmp_path / "cert.pem"), needs_token=True)
        with pytest.raises(InputFileError, match=r"cert\.pem: no such file"):
            check_listen(Listen(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem"), needs_token=True)

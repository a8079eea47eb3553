"""What the command line decides without doing anything: codes, sizes, rows, lines."""

from __future__ import annotations

import inspect
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import is_harmless, texts
from trio_norman import errors
from trio_norman.cli._board import Board
from trio_norman.cli._exits import TABLE, Exit, advice_for, exit_of, exit_of_items
from trio_norman.cli._lists import LineSplitter
from trio_norman.cli._main import leaves_of
from trio_norman.cli._options import options_last
from trio_norman.cli._output import json_text, one_line
from trio_norman.cli._sizes import parse_size, shown_rate, shown_seconds, shown_size
from trio_norman.cli._views import Column, cells_of, fields, heading, row, shown
from trio_norman.errors import ConfigurationError, TrioNormanError
from trio_norman.transfer import (
    DownloadAdvanced,
    DownloadFinished,
    DownloadResult,
    DownloadRetrying,
    DownloadStarted,
    Outcome,
    Source,
)

URL = "https://example.org/x"
CODES: dict[str, Exit] = {
    "ConfigurationError": Exit.USAGE,
    "AddressError": Exit.USAGE,
    "FileNameError": Exit.USAGE,
    "NotFoundError": Exit.NOT_FOUND,
    "AuthenticationError": Exit.REFUSED,
    "PermissionDeniedError": Exit.REFUSED,
    "TransportError": Exit.TEMPORARY,
    "NameResolutionError": Exit.TEMPORARY,
    "ConnectError": Exit.TEMPORARY,
    "ProxyError": Exit.TEMPORARY,
    "HeadTimeoutError": Exit.TEMPORARY,
    "SlowTransferError": Exit.TEMPORARY,
    "InterruptedTransferError": Exit.TEMPORARY,
    "ProtocolError": Exit.TEMPORARY,
    "RateLimitedError": Exit.TEMPORARY,
    "ServiceBrokenError": Exit.TEMPORARY,
    "SourceChangedError": Exit.TEMPORARY,
    "UrlExpiredError": Exit.TEMPORARY,
    "NotReadyError": Exit.TEMPORARY,
    "UnsupportedError": Exit.USAGE,
    "DestinationBusyError": Exit.TEMPORARY,
    "EndpointTimeoutError": Exit.TEMPORARY,
    "JobTimeoutError": Exit.TEMPORARY,
    "ChecksumMismatchError": Exit.INTEGRITY,
    "UnprovenError": Exit.INTEGRITY,
    "RangeNotHonouredError": Exit.INTEGRITY,
    "NoSpaceError": Exit.DISK,
    "LocalFileError": Exit.DISK,
    "DestinationExistsError": Exit.DISK,
}


def made(kind: type[TrioNormanError]) -> TrioNormanError:
    if issubclass(kind, errors.TransportError):
        return kind("GET", URL)
    if issubclass(kind, errors.ServiceError):
        return kind("GET", URL, 400)
    if issubclass(kind, errors.MalformedResponseError):
        return kind("GET", URL)
    if issubclass(kind, errors.LimitExceededError):
        return kind("GET", URL, "a body", 5)
    if issubclass(kind, errors.TransferError):
        return kind("name")
    if kind is errors.UnsupportedError:
        return kind("what cannot be said", "classic")
    if issubclass(kind, errors.EndpointTimeoutError):
        return kind("name", 1.0)
    if issubclass(kind, errors.EndpointTaskError):
        return kind("name")
    if issubclass(kind, errors.JobFailedError):
        return kind("1", "flag")
    if issubclass(kind, errors.JobTimeoutError):
        return kind(1.0)
    if kind in {errors.EndpointError, errors.JobError}:
        return kind()
    return kind() if kind is TrioNormanError else errors.ConfigurationError("what is wrong")


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TrioNormanError)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_error_has_its_exit_code(kind: type[TrioNormanError]) -> None:
    assert exit_of(made(kind)) is CODES.get(kind.__name__, Exit.OTHER)


def test_what_we_do_not_know_is_another_error() -> None:
    assert exit_of(KeyError("x")) is Exit.OTHER


def test_the_table_in_the_help_names_every_code() -> None:
    assert all(f"{int(code)}  " in TABLE or f"{int(code)}:" in TABLE for code in Exit)


@given(st.integers(0, 3), st.lists(st.sampled_from([Exit.NOT_FOUND, Exit.TEMPORARY, Exit.DISK]), max_size=4))
def test_the_exit_code_of_a_batch(succeeded: int, failures: list[Exit]) -> None:
    code = exit_of_items(succeeded, failures)
    if not failures:
        assert code is Exit.OK
    elif succeeded:
        assert code is Exit.SOME_FAILED
    else:
        assert code is (failures[0] if len(set(failures)) == 1 else Exit.OTHER)


def test_errors_say_what_helps_on_the_command_line() -> None:
    assert "--force" in advice_for(errors.DestinationExistsError("x"))
    assert "--ca-file" in advice_for(errors.TlsError("GET", URL))
    assert advice_for(errors.NotFoundError("GET", URL, 404)) == ""


def test_groups_of_errors_are_taken_apart() -> None:
    one, two = ValueError(), KeyError()
    assert list(leaves_of(ExceptionGroup("", [one, ExceptionGroup("", [two])]))) == [one, two]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1048576", 2**20), ("16MiB", 2**24), ("16M", 2**24), ("16m", 2**24), ("1.5GiB", 3 * 2**29),
        ("1MB", 10**6), ("1 kb", 1000), ("2TiB", 2**41), ("7B", 7), ("0.5k", 512),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1e6", "1 MiB MiB", "16Mib s", "0.3", "iB", "5iB", "٣", "1" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|bytes"):
        parse_size(text)


@given(st.integers(0, 2**62))
def test_a_size_is_shown_in_few_characters_and_nearly_right(size: int) -> None:
    number, unit = shown_size(size).split()
    step = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert abs(float(number) * step - size) <= 0.0501 * step
    assert len(number) <= 5 or unit == "TiB"


def test_figures_for_people() -> None:
    assert [shown_size(None), shown_size(1023), shown_size(2**24)] == ["?", "1023 B", "16.0 MiB"]
    assert [shown_seconds(s) for s in (-1, 7.4, 245, 7200)] == ["0 s", "7 s", "4:05", "2:00:00"]
    assert shown_rate(12_345_678) == "12.3 MB/s"


def test_global_options_may_stand_before_the_command() -> None:
    words = ["--base-url", "U", "--api-key-file=K", "--json", "runs", "list", "--limit", "3"]
    assert options_last(words) == ["runs", "list", "--limit", "3", "--base-url", "U", "--api-key-file=K", "--json"]
    assert options_last(["--quiet", "runs", "show", "--", "-x"]) == ["runs", "show", "--quiet", "--", "-x"]


@given(
    st.lists(
        st.sampled_from(
            ["--json", "--base-url", "runs", "--", "--help", "x", "--ca-file=y", "--allow-host=z", "--allow-host"]
        )
    )
)
def test_moving_options_loses_no_word(words: list[str]) -> None:
    assert sorted(options_last(words)) == sorted(words)
    if not words or not words[0].startswith("--") or words[0] in {"--", "--help"}:
        assert options_last(words) == words


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\ufeff", exclude_categories=["Cs"]), max_size=9)),
    st.booleans(),
    st.data(),
)
def test_lines_are_the_same_wherever_the_blocks_are_cut(lines: list[str], has_end: bool, data: st.DataObject) -> None:
    text = "\n".join(lines) + ("\n" if has_end and lines else "")
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    splitter = LineSplitter()
    found: list[tuple[int, str]] = []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += splitter.feed(whole[start:stop])
    found += splitter.finish()
    expected = text.split("\n")
    assert found == list(enumerate(expected[:-1] if expected[-1] == "" else expected, start=1))


def test_a_line_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigurationError, match="line 2 is not UTF-8"):
        list(LineSplitter().feed(b"a\n\xff\n"))
    with pytest.raises(ConfigurationError, match="line 1 is longer"):
        list(LineSplitter().feed(b"a" * 70_000))
    assert list(LineSplitter().feed(b"\xef\xbb\xbfa\n")) == [(1, "a")]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=8,
)


@given(ANY_JSON)
def test_json_is_plain_ascii_and_says_the_same(value: Any) -> None:
    written = json_text(value)
    assert json.loads(written) == value
    assert all(" " <= character <= "~" for character in written)


@given(texts(max_size=300))
def test_nothing_that_a_terminal_obeys_gets_into_a_row(text: str) -> None:
    columns = (Column("A", lambda item: item, 8), Column("B", lambda item: {"x": item}))
    for line in (row(columns, text), fields({text: text}), f"{one_line(text)}\n"):
        assert line.endswith("\n")
        assert is_harmless(line[:-1])


def test_columns_line_up_for_wide_characters() -> None:
    columns = (Column("NAME", lambda item: item, 8), Column("N", lambda item: 7, 3, is_right=True))
    lines = [heading(columns), row(columns, "ab"), row(columns, "文件"), row(columns, "e\u0301")]
    assert [cells_of(unicodedata.normalize("NFD", line.rstrip("\n"))) for line in lines] == [13] * 4


def test_values_for_people() -> None:
    assert [shown(value) for value in (None, True, False, 3, ["a"])] == ["-", "yes", "no", "3", '["a"]']


def board_of_two() -> tuple[Board, Source, Source]:
    board = Board()
    board.expect(100)
    board.expect(300)
    return board, Source.from_url(URL, "a"), Source.from_url(URL, "b")


def result(source: Source, outcome: Outcome = Outcome.OK, **facts: Any) -> DownloadResult:
    return DownloadResult(source, Path(source.name), outcome, **facts)


def test_a_board_counts_what_the_engine_tells() -> None:
    board, a, b = board_of_two()
    assert (board.total_items, board.total_bytes) == (None, None)
    board.is_listed = True
    board.note(DownloadStarted(a, 100, 40))
    board.note(DownloadStarted(b, 300, 0))
    board.tick(10.0)
    board.note(DownloadAdvanced(a, 60, 100))
    board.note(DownloadAdvanced(b, 30, 300))
    board.tick(12.0)
    assert (board.done_bytes, board.received_bytes, board.rate) == (90, 50, 25.0)
    assert board.seconds_left == pytest.approx((400 - 90) / 25)
    board.note(DownloadAdvanced(b, 0, 300))  # begun anew
    board.note(DownloadRetrying(b, TrioNormanError(), 1.0))
    assert [file.is_waiting for file in board.active] == [False, True]
    board.note(DownloadFinished(result(a, size_bytes=100, received_bytes=60)))
    board.note(DownloadFinished(result(b, Outcome.FAILED, received_bytes=40)))
    assert (board.items_done, board.items_failed, board.received_bytes) == (2, 1, 100)
    assert not board.active
    assert board.line().startswith("2/2 files, 100 B of 400 B")
    assert board.summary(2.0) == "2 files: 1 fetched, 1 failed; 100 B received in 2.0 s (0.0 MB/s)"


def test_a_refused_twin_does_not_take_its_namesake_off_the_board() -> None:
    board, a, _ = board_of_two()
    board.note(DownloadStarted(a, 100, 0))
    board.note(DownloadFinished(result(Source.from_url(URL, "a"), Outcome.FAILED)))
    assert [file.source for file in board.active] == [a]


def test_a_board_without_sizes_goes_by_items() -> None:
    board, a, _ = board_of_two()
    board.expect(None)
    board.is_listed = True
    board.tick(0.0)
    assert board.seconds_left is None
    board.note(DownloadFinished(result(a, Outcome.SKIPPED, size_bytes=100)))
    board.tick(4.0)
    assert board.total_bytes is None
    assert board.seconds_left == pytest.approx(8.0)
    assert board.line() == "1/3 files, 100 B, 0.0 MB/s, 8 s left"
    assert board.summary(1.0) == "1 file: 1 already there"
    assert Board().summary(1.0) == "no files"

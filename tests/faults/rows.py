"""One row of the fault matrix: what it may use, what it says that it expects, and the invariants that hold regardless.

I1 the final name is complete or as before. I2 success means that size and digest are equal. I3 no secret shows
anywhere. I4 nothing outside the destination. I5 memory is bounded. I6 time is bounded. I7 nothing is left. I8 the other
items finish: the row says so of each. I9 requests and connections are bounded. I10 a cancellation gets through.
"""

from __future__ import annotations

import base64
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Unpack
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import trio

from tests.cli.commandline import Ended, Shell
from tests.destinations import IMPATIENT, QUICK
from tests.faults import leftovers, trees
from tests.faults.contacts import Contacts, watching_connections
from tests.faults.leftovers import Leftovers
from tests.faults.secrecy import PIECE, Canaries, everything_about, listening, new_canary
from tests.faults.trees import Entry, Expected
from trio_norman import ConnectionSettings, DownloadResult, Event, Outcome, ServiceClient, Source, download_many
from trio_norman._sansio.redaction import Secret
from trio_norman.emulator import Emulator, LoggedRequest, OddPorts, open_emulator
from trio_norman.emulator._serving import ServerOptions
from trio_norman.errors import TrioNormanError
from trio_norman.transfer._model import DownloadOptions, Link
from trio_norman.transfer._shop import most_connections

MiB = 2**20
_ATTEMPTS = 8  # of the settings that a user gets who says nothing
_SIGNATURES = 200  # that are watched for: what hides so many hides the others
CANCELLED_WITHIN = 1.5  # seconds: one, and a disk call that runs


class ViolationError(AssertionError):
    """A row did not keep an invariant, or did not end as it says."""


@attrs.define(eq=False)
class Attempt:
    """One run against the fault: what came of it. `files` are the names it may write, and what they should hold."""

    files: Mapping[str, Expected | None]
    before: dict[Path, Entry]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    results: dict[str, DownloadResult] = attrs.field(factory=dict)
    events: list[Event] = attrs.field(factory=list)
    error: BaseException | None = None  # what the block raised, if it is one of ours
    requests: list[LoggedRequest] = attrs.field(factory=list)  # to the storage
    elsewhere: int = 0  # connections of this process to other places than the emulator, also in vain
    most_requests: float = math.inf  # if the row does not say it more exactly
    seconds: float = 0.0
    grown_mib: float = 0.0
    peak: int = 0  # connections at the same time, but for those to the API
    cancelled_at: float = math.inf
    is_batch: bool = False  # which owes a result of every file
    problems: list[str] = attrs.field(factory=list)
    unjudged: set[str] = attrs.field(init=False)  # files of which the row has not said yet what it expects

    def __attrs_post_init__(self) -> None:
        self.unjudged = set(self.files)

    def cancel(self) -> None:
        """Cancel what runs in the block; it must get through, and soon."""
        self.cancelled_at = min(self.cancelled_at, trio.current_time())
        self.scope.cancel()

    def cancel_after(self, seconds: float) -> None:
        """Cancel what runs in the block after a time."""
        self.cancelled_at = trio.current_time() + seconds
        self.scope.deadline = self.cancelled_at

    @property
    def result(self) -> DownloadResult:
        """The one result, if there was one file."""
        (result,) = self.results.values()
        return result

    def error_of(self, name: str) -> BaseException | None:
        """Give what went wrong with one file."""
        return self.results[name].error if name in self.results else self.error


@attrs.define(eq=False)
class Row:
    """What a test of one row works with."""

    emulator: Emulator
    tree: Path  # everything in it is watched
    dest: Path  # the only place in it where files may appear; not made yet
    canaries: Canaries
    contacts: Contacts
    contents: dict[str, Expected] = attrs.field(factory=dict)  # what `source` has promised under each name
    attempts: list[Attempt] = attrs.field(factory=list)
    shown: list[tuple[str, str | bytes]] = attrs.field(factory=list)  # place, text
    links_made: int = 0  # by what `renewable` gave
    exempt: set[Path] = attrs.field(factory=set)  # files that the row itself put a secret into
    api: Literal["classic", "v1"] = "classic"

    # ---- what there is

    @property
    def odd(self) -> OddPorts:
        """The roots of ports that misbehave."""
        assert self.emulator.odd_ports is not None
        return self.emulator.odd_ports

    @property
    def service(self) -> ServiceClient:
        """The service as a user describes it, in the dialect `api` that the row's bodies are written in."""
        return ServiceClient(self.emulator.api_key, self.emulator.base_url, api=self.api, retry=QUICK)

    @property
    def shell(self) -> Shell:
        """A user at a shell, with the key in the environment. Prefer `run_cli`; else `show` what it said."""
        return Shell(self.tree / "home", self.emulator)

    def secret(self, what: str) -> str:
        """Make a secret that must not show anywhere from now on."""
        return self.canaries.add(what, new_canary(what))

    def show(self, place: str, thing: object) -> None:
        """Have something searched for secrets: text and bytes as they are, errors with all that hangs on them."""
        if isinstance(thing, BaseException):
            thing = everything_about(thing, with_arguments=True)
        self.shown.append((place, thing if isinstance(thing, (str, bytes)) else f"{thing!r} {thing!s}"))

    def plant(self, name: str, data: bytes) -> Path:
        """Put a file into the destination; from then on it counts as having been there before."""
        self.dest.mkdir(parents=True, exist_ok=True)
        path = self.dest / name
        path.write_bytes(data)
        for attempt in self.attempts:
            attempt.before[path] = Entry.of(path)
        return path

    # ---- what is tried

    def url(self, fault: str = "", size: int = MiB, *, name: str = "blob", seed: int = 0, signed: bool = True) -> str:
        """Give the URL of an object with a fault (knobs as in a query) and with secrets in its signature."""
        knobs = parse_qs(fault, keep_blank_values=True, strict_parsing=bool(fault), encoding="latin-1")
        url = self.emulator.blob_url(size, seed=seed, name=name, signed=signed, **knobs)
        if not signed:
            return url
        self._watch_for_signature(url)
        return f"{url}&q-canary={quote(self.canaries.known['link'], safe='')}"

    def source(
        self,
        fault: str = "",
        size: int = MiB,
        *,
        name: str = "f",
        is_sized: bool = False,
        digests: Mapping[str, str] | None = None,
        version: int = 0,
    ) -> Source:
        """Describe an object of the storage with a fault; `is_sized`: its size is known beforehand."""
        self.contents[name] = self.emulator.blob_content(size, name=name, version=version)
        url = self.url(fault, size, name=name)
        return Source.from_url(url, name, size_bytes=size if is_sized else None, digests=digests)

    def renewable(self, *faults: str, size: int = MiB, name: str = "f") -> Source:
        """Describe an object behind links that are signed on demand, as a service does.

        The first link has the first fault, and so on; further links are like the last one. `links_made` counts them.
        """
        self.contents[name] = self.emulator.blob_content(size, name=name)
        left = list(faults) or [""]

        async def link() -> Link:
            await trio.lowlevel.checkpoint()
            self.links_made += 1
            return Link(Secret(self.url(left.pop(0) if len(left) > 1 else left[0], size, name=name)))

        return Source(name, link, f"blob {name} {size}")

    async def download(
        self,
        fault: str = "",
        size: int = MiB,
        *,
        is_sized: bool = False,
        digests: Mapping[str, str] | None = None,
        version: int = 0,
        **how: Any,
    ) -> Attempt:
        """Download one object with a fault as ``f``; `how` as in `download_all`."""
        source = self.source(fault, size, is_sized=is_sized, digests=digests, version=version)
        return await self.download_all([source], **how)

    async def download_url(self, url: str, *, content: Expected | None = None, **how: Any) -> Attempt:
        """Download any URL as ``f``, for example one at an odd port; `how` as in `download_all`.

        A URL without a query gets one with a secret in it.
        """
        url = url if "?" in url else f"{url}?q-canary={quote(self.canaries.known['link'], safe='')}"
        if content is not None:
            self.contents["f"] = content
        return await self.download_all([Source.from_url(url, "f")], **how)

    async def download_all(
        self,
        sources: Iterable[Source],
        *,
        within: float = 20.0,
        memory_mib: float = 32.0,
        cancel_after: float = math.inf,
        connection: ConnectionSettings | None = None,
        **options: Any,
    ) -> Attempt:
        """Download sources with quick retries, and judge time, memory and connections.

        `options` are those of `download_many`; by default one connection, so that requests can be counted.
        """
        chosen: dict[str, Any] = {"retry": QUICK, "stall": IMPATIENT, "max_connections": 1, **options}
        limit = most_connections(DownloadOptions(**chosen))
        listed = list(sources)
        files = {source.name: self.contents.get(source.name) for source in listed}
        part = DownloadOptions(**chosen).part_bytes
        sizes = [trees.size_of(content) if content else 1 for content in files.values()]
        parts = max(sum(-(-size // part) or 1 for size in sizes), limit if limit > 1 else 1)
        asked = chosen["retry"].attempts * parts
        async with self.attempt(
            files, within=within, memory_mib=memory_mib, connections=limit, requests=asked
        ) as attempt:
            attempt.is_batch = True
            attempt.cancel_after(cancel_after)
            async with download_many(
                listed, self.dest, connection=connection, on_event=attempt.events.append, **chosen
            ) as downloads:
                async for result in downloads:
                    attempt.results[result.source.name] = result
        return attempt

    @asynccontextmanager
    async def attempt(
        self,
        files: Mapping[str, Expected | None],
        *,
        within: float = 20.0,
        memory_mib: float = 32.0,
        connections: float = math.inf,
        requests: float | None = None,
        anything_below: Path | None = None,
    ) -> AsyncIterator[Attempt]:
        """Run any block against the fault, and judge it.

        Put results into ``attempt.results``. An error of ours that leaves the block is kept in ``attempt.error``; other
        exceptions go through.

        Args:
            files: The names in the destination that the block may write, and what they should hold.
            within: Seconds until it must have ended.
            memory_mib: How far the memory of this process, emulator included, may grow meanwhile.
            connections: How many connections it may have at the same time, but for those to the API.
            requests: How many requests it may make of the storage, together with connections to other places; by
                default as many as the attempts at one part of each file.
            anything_below: A directory that the block may make and fill as it likes.
        """
        attempt = Attempt(files, trees.picture_of(self.tree))
        self.attempts.append(attempt)
        attempt.most_requests = _ATTEMPTS * max(1, len(files)) if requests is None else requests
        seen, storage = self.emulator.requests.total, self.emulator.connections
        storage.peak = storage.active
        self.contacts.forget()
        leftovers.forget_peak_memory()
        base, started = leftovers.resident_mib(), trio.current_time()
        limit = trio.CancelScope(deadline=started + within)
        try:
            with limit, attempt.scope:
                yield attempt
        except (TrioNormanError, BaseExceptionGroup) as error:
            attempt.error = error
            if isinstance(error, BaseExceptionGroup) and error.split(TrioNormanError)[1] is not None:
                attempt.unjudged.clear()  # the test has failed by itself
                raise
        except BaseException:
            attempt.unjudged.clear()
            raise
        ended = trio.current_time()
        attempt.seconds = ended - started
        attempt.peak = self.contacts.peak if self.contacts.ports else storage.peak  # which another process has made
        attempt.elsewhere = sum(port not in self._storage_ports for port in self.contacts.ports)
        attempt.grown_mib = leftovers.peak_mib() - base
        new = [request for request in self.emulator.requests if request.number > seen]
        attempt.requests = [request for request in new if request.server != "api"]
        if limit.cancelled_caught:
            attempt.problems.append(f"I6: still running after {within} s")
        if ended - attempt.cancelled_at > CANCELLED_WITHIN:
            attempt.problems.append(f"I6: ended {ended - attempt.cancelled_at:.2f} s after it was cancelled")
        if attempt.grown_mib > memory_mib:
            attempt.problems.append(f"I5: the memory grew by {attempt.grown_mib:.0f} MiB")
        if attempt.peak > connections:
            attempt.problems.append(f"I9: {attempt.peak} connections at the same time, not {connections}")
        self._look_at_the_tree(attempt, anything_below)
        self._remember(attempt)

    async def run_cli(self, *words: str | Path, env: Mapping[str, str | None] | None = None) -> Ended:
        """Run the command line to its end; what it says and what `ps` shows of it is searched for secrets."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_arguments)
            ended = await self.shell.run(*words, env=env)
            nursery.cancel_scope.cancel()
        self.show("the command's output", ended.out)
        self.show("the command's errors", ended.err)
        return ended

    # ---- what is expected

    def expect(
        self, attempt: Attempt, name: str | None = None, *, disk: str = "D2", requests: float | None = None
    ) -> None:
        """Say that a file succeeded: complete (D2), or already there (D3). Raises `ViolationError` if it did not."""
        only = self._judged(attempt, name, disk, requests)
        result, expected = attempt.results.get(only), attempt.files[only]
        if attempt.error_of(only) is not None:
            raise ViolationError(f"{only} failed: {attempt.error_of(only)!r}")
        if result is None:
            if attempt.is_batch:
                raise ViolationError(f"there is no result of {only}")
            return
        outcome = {"D2": Outcome.OK, "D3": Outcome.SKIPPED}.get(disk)
        if outcome is not None and result.outcome is not outcome:
            raise ViolationError(f"{only} is {result.outcome}, not {outcome}")
        if expected is not None and result.sha256 is not None and result.sha256 != trees.sha256_of(expected):
            raise ViolationError(f"I2: the digest of {only} is not that of what it should hold")
        if expected is not None and disk == "D2" and result.size_bytes != trees.size_of(expected):
            raise ViolationError(f"I2: the size of {only} is told as {result.size_bytes}")

    def expect_all(self, attempt: Attempt, *, disk: str = "D2", requests: float | None = None) -> None:
        """Say that every file of which nothing was said yet succeeded, as `expect` does for one."""
        for name in sorted(attempt.unjudged):
            self.expect(attempt, name, disk=disk, requests=requests)

    def expect_error(
        self,
        attempt: Attempt,
        kind: type[TrioNormanError] | tuple[type[TrioNormanError], ...],
        name: str | None = None,
        *,
        disk: str = "D0",
        requests: float | None = None,
    ) -> Any:
        """Say that a file failed with this very kind of error, which is returned; raises `ViolationError`."""
        only = self._judged(attempt, name, disk, requests)
        error = attempt.error_of(only)
        if type(error) not in (kind if isinstance(kind, tuple) else (kind,)):
            raise ViolationError(f"{only} ended with {error!r}, not with {kind}")
        return error

    def expect_cancelled(self, attempt: Attempt, name: str | None = None, *, disk: str = "D0 D1 D2") -> str:
        """Say that it was cancelled and that the cancellation got through, unless all was done already.

        Returns:
            Which of the outcomes was found.
        """
        found = self.expect_disk(attempt, name, disk=disk)
        if not attempt.scope.cancelled_caught and (found != "D2" or not attempt.scope.cancel_called):
            raise ViolationError("I10: the cancellation did not get through")
        return found

    def expect_disk(self, attempt: Attempt, name: str | None = None, *, disk: str) -> str:
        """Say what is on the disk, one outcome or several (``"D0 D1"``); returns which it is."""
        assert name is not None or len(attempt.files) == 1, "of which file?"
        only = next(iter(attempt.files)) if name is None else name
        attempt.unjudged.discard(only)
        if attempt.problems:
            raise ViolationError("\n".join(attempt.problems))
        found: dict[str, list[str]] = {}
        for each in disk.split():
            found[each] = trees.faults_of(each, self.dest, only, attempt.before, attempt.files[only])
            if not found[each]:
                return each
        ended = f" (ended with {attempt.error_of(only)!r})"
        raise ViolationError("\n".join(f"I1: not {each}: {'; '.join(wrong)}" for each, wrong in found.items()) + ended)

    def held(self, name: str = "f") -> int:
        """Return how many bytes a partial's sidecar notes."""
        return trees.held_bytes(self.dest, name)

    # ---- how it is judged

    def _judged(self, attempt: Attempt, name: str | None, disk: str, requests: float | None) -> str:
        self.expect_disk(attempt, name, disk=disk)
        made, allowed = len(attempt.requests) + attempt.elsewhere, attempt.most_requests
        if made > (allowed if requests is None else requests):
            raise ViolationError(f"I9: {made} requests, not {allowed if requests is None else requests}")
        return next(iter(attempt.files)) if name is None else name

    @property
    def _storage_ports(self) -> set[int | None]:
        return {urlsplit(url).port for url in (self.emulator.storage_url, self.emulator.other_storage_url)}

    def _look_at_the_tree(self, attempt: Attempt, free: Path | None) -> None:
        own = {self.dest / name for name in attempt.files}
        own |= {path for name in attempt.files for path in trees.partial_of(self.dest, name)}
        after = trees.picture_of(self.tree)
        changed = (path for path in trees.changes(attempt.before, after) if path not in own | {self.dest})
        strays = [path for path in changed if free is None or not path.is_relative_to(free)]
        attempt.problems += [f"I4: {path.relative_to(self.tree)} was changed" for path in strays]

    def _remember(self, attempt: Attempt) -> None:
        for name in {*attempt.files, *attempt.results}:
            error = attempt.error_of(name)
            if error is not None:
                self.show(f"the error of {name}", error)
            sidecar = trees.partial_of(self.dest, name)[1]
            if sidecar.is_file():
                self.show(f"the sidecar of {name}", sidecar.read_bytes())
        self.show("results and events", f"{attempt.results!r} {attempt.events!r} {[*map(str, attempt.events)]}")

    async def _watch_arguments(self) -> None:
        while True:
            for process in leftovers.children():
                try:
                    self.show("a command's arguments", Path(f"/proc/{process}/cmdline").read_bytes())  # noqa: ASYNC240
                except FileNotFoundError:
                    continue  # it has ended
            await trio.sleep(0.05)

    def final_problems(self) -> list[str]:
        """Say what is wrong when the row is done: secrets that show, attempts of which nothing was expected."""
        problems = [problem for each in self.attempts for problem in each.problems]
        unjudged = (name for each in self.attempts for name in sorted(each.unjudged)[:3])
        problems += [f"the row does not say what it expects of {name}" for name in unjudged]
        for request in islice(self.emulator.requests, _SIGNATURES):
            self._watch_for_signature(request.query)
            self._watch_for("authorization", request.headers.get("authorization", "").partition(" ")[2])
        self._watch_for_what_services_gave_out()
        return problems + [f"I3: {each}" for each in self.canaries.found_in(self._everything_shown())]

    def _watch_for_signature(self, query: str) -> None:
        signature = query.partition("q-signature=")[2].partition("&")[0]
        if len(signature) == 40 and len(self.canaries.known) < _SIGNATURES:
            self.canaries.add(f"signature {signature[:4]}", signature)

    def _watch_for_what_services_gave_out(self) -> None:
        self._watch_for("norman's key", self.emulator.norman_api_key)
        for push in islice(self.emulator.norman.pushes, _SIGNATURES):
            for what, secret in (("key", push.key), ("nonce", push.nonce), ("header", push.header)):
                for text in (base64.b64encode(secret).decode(), secret.hex(), repr(secret)[2:-1]):
                    self._watch_for(f"a push's {what}", text)
        for task in islice(self.emulator.launch.tasks.values(), _SIGNATURES):
            for secret in (task.body.get("callback_auth") or {}).values():
                self._watch_for("a callback's credential", secret)

    def _watch_for(self, what: str, secret: str) -> None:
        if len(secret) > PIECE:
            self.canaries.known.setdefault(f"{what} {len(self.canaries.known)}", secret)

    def _everything_shown(self) -> Iterable[tuple[str, str | bytes]]:
        yield from self.shown
        for path in self.tree.rglob("*"):
            place = str(path.relative_to(self.tree))
            yield f"the name {place}", place
            if path.is_file() and not path.is_symlink() and path not in self.exempt:
                yield place, path.read_bytes()


@asynccontextmanager
async def open_row(
    tree: Path, output: Callable[[], str], *, patience: float = 5.0, **options: Unpack[ServerOptions]
) -> AsyncIterator[Row]:
    """Open an emulator on sockets and a tree for one row; check all invariants when the block is left without an error.

    Args:
        tree: A directory to make; the row's own.
        output: Gives what was written to stdout and stderr since the last call.
        patience: Seconds for what is just being closed.
        **options: Of the emulator; by default one run with three checkpoints of 1 MiB, and the odd ports.

    Raises:
        ViolationError: If an invariant does not hold; all that is wrong is in its text.
    """
    for name in ("home", "tmp", "work"):
        (tree / name).mkdir(parents=True)
    canaries = Canaries()
    canaries.add("link", new_canary("link"))
    key = canaries.add("key", new_canary("key"))
    chosen: Any = {"runs": 1, "checkpoints": 3, "size_bytes": MiB, "odd_ports": True, "api_key": key}
    before = Leftovers()
    with listening() as heard, watching_connections() as contacts:
        async with open_emulator(**{**chosen, **options}) as emulator:
            contacts.ignored.add(urlsplit(emulator.base_url).port or 0)
            row = Row(emulator, tree, tree / "work" / "dest", canaries, contacts)
            yield row
            problems = [f"I7: {emulator.connections.active} connections are open"] * (
                not await _is_idle(emulator, patience)
            )
        problems += [f"I7: left: {each}" for each in await leftovers.left_since(before, patience)]
    row.show("a log", "\n".join(heard))
    row.show("the output", output())
    problems += row.final_problems()
    if problems:
        raise ViolationError("\n".join(problems))


async def _is_idle(emulator: Emulator, patience: float) -> bool:
    with trio.move_on_after(patience):
        await emulator.connections.wait_idle()
        while emulator.api_connections.active:  # noqa: ASYNC110 (it has no event)
            await trio.sleep(0.01)
        return True
    return False

"""The Norman service: its nouns put together, and the handles by which a test moves them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs
import trio
from starlette.types import ASGIApp

from .._clock import WallClock
from .._knobs import Knobs
from .._log import ConnectionCount
from .._objects import RunSync
from ._accounts import Account, Accounts
from ._bodies import Bodies, StoredBody
from ._callables import built_in_functions, made_up_model
from ._faults import FlagFault, PushFault
from ._flags import Flags, asked_entities
from ._identifiers import IdentifierMaker
from ._invocations import Invocations
from ._links import Connect, Download, LinkError, checked_links
from ._models import Catalogue, ModelFunction
from ._notifications import Notifications
from ._pairings import Pairing, Pairings
from ._push import PushPort
from ._refusals import forbidden, invalid, not_found
from ._retrieving import checked_knobs
from ._shapes import Wire, read
from ._tokens import Tokens

_PATIENCE = 10.0  # seconds for which ``complete`` waits for more of its push


@attrs.define(eq=False)
class NormanService:
    """Accounts, models, invocations and pushes, for as long as the emulator lives."""

    clock: WallClock
    run_sync: RunSync
    seed: int
    host: str  # of the push port
    port: int
    connect: Connect = attrs.field(default=trio.open_tcp_stream, repr=False)  # how links are fetched
    patience: float = _PATIENCE
    serves_ranges: bool = False  # whether retrieving honours Range and announces validators
    push_faults: list[PushFault] = attrs.field(factory=list, init=False)
    identifiers: IdentifierMaker = attrs.field(init=False, repr=False)
    accounts: Accounts = attrs.field(init=False, repr=False)
    tokens: Tokens = attrs.field(init=False, repr=False)
    flags: Flags = attrs.field(init=False, repr=False)
    bodies: Bodies = attrs.field(factory=Bodies, init=False, repr=False)
    notifications: Notifications = attrs.field(init=False, repr=False)
    catalogue: Catalogue = attrs.field(init=False, repr=False)
    invocations: Invocations = attrs.field(init=False, repr=False)
    pairings: Pairings = attrs.field(init=False, repr=False)
    push_port: PushPort = attrs.field(init=False, repr=False)
    app: ASGIApp = attrs.field(init=False, repr=False)
    downloads: dict[str, Download] = attrs.field(factory=dict, init=False, repr=False)
    knobs: dict[str | None, tuple[Knobs, list[int]]] = attrs.field(factory=dict, init=False, repr=False)
    account: Account = attrs.field(init=False, repr=False)  # the one whose key is ready
    api_key: str = attrs.field(init=False, repr=False)
    _housekeeper: Account = attrs.field(init=False, repr=False)  # owns the built-in models
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        clock = self.clock
        self.identifiers = IdentifierMaker(self.seed, clock)
        self.accounts = Accounts(self.seed, clock, self.identifiers)
        self.tokens = Tokens(hashlib.blake2b(f"norman tokens {self.seed}".encode()).digest(), clock)
        self.flags = Flags(clock, self.identifiers)
        self.notifications = Notifications(clock, self.identifiers)
        self.catalogue = Catalogue(clock, self.identifiers, self.flags, self.notifications)
        self.invocations = Invocations(
            clock, self.identifiers, self.flags, self.bodies, self.catalogue, self.notifications, self.run_sync
        )
        self.pairings = Pairings(self.seed)
        self.push_port = PushPort(self.pairings, self.run_sync)
        self._housekeeper = self.accounts.create("norman")
        self.account = self.accounts.create("ada")
        self.api_key = self.accounts.add_key(self.account)
        for name, (function, modality, encoding) in built_in_functions().items():
            what = "" if name == "echo" else f" {modality}"
            titles = ((f"Input{what}",), (f"Output{what}",))
            self.register_model(
                name, function, inputs=titles[0], outputs=titles[1], modality=modality, encoding=encoding
            )

    # ---- what a test turns

    @property
    def pushes(self) -> Sequence[Pairing]:
        """All pairings so far, oldest first, and what was pushed over each."""
        return list(self.pairings)

    @property
    def push_connections(self) -> ConnectionCount:
        """The connections to the push port: `active`, `peak`, `total`."""
        return self.push_port.connections

    def register_model(
        self,
        name: str,
        function: ModelFunction,
        *,
        inputs: Sequence[str] = ("Input",),
        outputs: Sequence[str] = ("Output",),
        modality: str = "Text",
        encoding: str = "utf8",
    ) -> None:
        """Let models of this name be run by a function; if there is no such model, make one.

        Args:
            name: The model's name; models that are uploaded later under it are run by the function, too.
            function: Takes the inputs' bytes by their titles. It gives bytes or text for all outputs, or a mapping
                from the outputs' titles. It may be asynchronous; if not, it runs in a worker thread. What it raises
                fails the invocation.
            inputs: Titles of the inputs of the model that is made.
            outputs: Titles of its outputs.
            modality: Modality of all of them.
            encoding: Encoding of all of them.
        """
        self.invocations.functions[name] = function
        if not self.catalogue.has_name(name):
            owner = self._housekeeper.shown["id"]
            model = made_up_model(name, owner, inputs, outputs, modality=modality, encoding=encoding)
            self.catalogue.create(owner, [model])

    def inject_push(self, **wishes: Any) -> PushFault:
        """Let pushes that are paired from now on go wrong; see `PushFault`. The rule's `hits` count pairings."""
        fault = PushFault(**wishes)
        self.push_faults.append(fault)
        return fault

    def inject_flags(self, **wishes: Any) -> FlagFault:
        """Show flags wrongly from now on; see `FlagFault`. The rule's `hits` count flags that were shown."""
        fault = FlagFault(**wishes)
        self.flags.faults.append(fault)
        return fault

    def inject_retrieval(self, entity_id: str | None = None, **knobs: object) -> None:
        """Answer retrievals of all bodies, or of one entity's, with the storage's fault knobs; without any, that ends.

        Raises:
            ValueError: For a knob that does not exist, or has no meaning here.
        """
        self.knobs.pop(entity_id, None)
        if knobs:
            self.knobs[entity_id] = (checked_knobs(knobs), [0])

    def behave(self) -> None:
        """End all faults of pushes, flags and retrievals."""
        self.push_faults.clear()
        self.flags.faults.clear()
        self.knobs.clear()

    def body_of(self, entity_id: str) -> StoredBody:
        """Give the bytes of an asset, an input or an output; raises `KeyError`."""
        body = self.bodies.of(entity_id)
        if body is None:
            raise KeyError(entity_id)
        return body

    # ---- its life

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run models and fetch links until cancelled; `nursery.start` waits until it is ready."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self.bodies.close()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a task of the service's own."""
        if self._nursery is None:
            raise RuntimeError("the service does not live")
        self._nursery.start_soon(function, *arguments)

    # ---- what the API asks for

    def logged_in(self, account: Account) -> Wire:
        """Give the answer to a login."""
        account_id = account.shown["id"]
        tokens = {"access_token": self.tokens.issue(account_id), "id_token": self.tokens.issue_identity(account_id)}
        return {"account": account.shown} | tokens

    def start_ready(self, invocations: Sequence[Wire]) -> None:
        """Run those invocations whose inputs are all there."""
        for invocation in invocations:
            if self.invocations.claim(invocation):
                self.start(self.invocations.run, invocation)

    def shown_flags(self, account_id: str, constraints: Any) -> dict[str, list[Wire]]:
        """Give flags; who waits for an invocation gets the default values of what was not pushed."""
        self.start_ready(self.invocations.use_defaults(account_id, asked_entities(constraints)))
        return self.flags.of_account(account_id, constraints)

    def pair(self, account_id: str, kind: Literal["asset", "input"], raw: object) -> Wire:
        """Permit one push; raises `RefusedError`."""
        wish = read(f"Socket{kind.title()}PairingRequest", raw, self.clock.now())
        entity_id = self._entity(account_id, kind.title(), wish)["id"]
        self.flags.tracks[entity_id].start_over()
        fault = next((fault for fault in self.push_faults if fault.strikes()), None)
        pairing = self.pairings.add(
            pairing_id=self.identifiers.next(),
            account_id=account_id,
            entity_id=entity_id,
            kind=kind,
            announced_bytes=wish["file_size_in_bytes"],
            paired_at=self.clock.now(),
            fault=fault,
            body=self.bodies.new(),
        )
        return pairing.shown(self.host, self.port)

    async def complete(self, account_id: str, raw: object) -> None:
        """Wait for a push's end, and take its body if it is what was announced; raises `RefusedError`."""
        wish = read("ChecksumRequest", raw, self.clock.now())
        pairing = self.pairings.find(wish["pairing_id"], account_id)
        pairing.completions += 1
        await pairing.wait_ended(self.patience)
        problem = _problem(pairing, wish["checksum"])
        if problem is not None:
            self.fail(pairing.account_id, pairing.entity_id, "Upload failed", problem)
            raise invalid("the upload is not accepted", problem)
        if not pairing.is_accepted:
            pairing.is_accepted = True
            self.arrived(pairing.account_id, pairing.entity_id, pairing.body)

    def submit_links(self, account_id: str, entity_type: Literal["Asset", "Input", "Output"], raw: object) -> list[str]:
        """Fetch links in place of a push; raises `RefusedError`."""
        wish = read(f"{entity_type}DownloadRequest", raw, self.clock.now())
        links = checked_links(wish["links"])
        entity_id = self._entity(account_id, entity_type, wish)["id"]
        self.flags.tracks[entity_id].start_over()
        download = Download(entity_type, entity_id, account_id, wish, self.bodies.new())
        self.downloads[entity_id] = download
        self.start(self._download, download)
        return links

    def download_of(self, account_id: str, entity_id: str) -> Wire:
        """Tell how far the links of an entity are fetched; raises `RefusedError`."""
        download = self.downloads.get(entity_id)
        if download is None or download.account_id != account_id:
            raise not_found("download", entity_id)
        request, noun = download.request, download.entity_type.lower()
        model = self.catalogue.shown(self.catalogue.recalled(request["model_id"]))
        entity = self._entity(account_id, download.entity_type, request)
        if noun == "asset":
            return download.shown({"model": model, "asset": entity})
        invocation = self.invocations.find(account_id, request["invocation_id"])
        return download.shown({"model": model, "invocation": invocation, f"invocation_{noun}": entity})

    def arrived(self, account_id: str, entity_id: str, body: StoredBody) -> None:
        """Take an entity's body, and let begin what waited for it."""
        self.bodies.keep(entity_id, body)
        self.flags.tracks[entity_id].begin(self.clock.now(), self.flags.seconds)
        self.catalogue.asset_came(entity_id)
        self.start_ready(self.invocations.waiting_for(entity_id))

    def fail(self, account_id: str, entity_id: str, title: str, message: str) -> None:
        """Let an entity's flags say that something went wrong."""
        self.flags.tracks[entity_id].fail(self.clock.now())
        self.notifications.add(account_id, entity_id, "Error", title, message)

    async def _download(self, download: Download) -> None:
        try:
            await download.run(self.connect, self.run_sync)
        except LinkError as error:
            self.fail(download.account_id, download.entity_id, "Download failed", str(error))
        else:
            self.arrived(download.account_id, download.entity_id, download.body)

    def _entity(self, account_id: str, entity_type: str, wish: Wire) -> Wire:
        if wish["account_id"] != account_id:
            raise forbidden("the request is about another account")
        if entity_type == "Asset":
            return self.catalogue.asset(account_id, wish["model_id"], wish["asset_id"])
        noun = entity_type.lower()
        return self.invocations.entry(account_id, wish["invocation_id"], f"{noun}s", wish[f"{noun}_id"])


def _problem(pairing: Pairing, checksum: str) -> str | None:
    if not pairing.ended.is_set():
        return "the connection is not at its end" if pairing.connections else "there was no connection"
    if pairing.received_bytes != pairing.announced_bytes:
        return f"{pairing.received_bytes} bytes came, {pairing.announced_bytes} were announced"
    is_equal = hmac.compare_digest(checksum.encode(), pairing.body.checksum.encode())
    if not is_equal or (pairing.fault is not None and pairing.fault.refuse):
        return "the checksum differs"
    return None

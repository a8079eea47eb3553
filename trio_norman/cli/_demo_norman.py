"""The second half of ``demo``: the Norman service, from an account to a saved output."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..norman import Norman, OpenInvocation
from ._options import OutputFlags
from ._output import write_out
from ._sizes import shown_size
from ._views import shown

if TYPE_CHECKING:
    from ..emulator import Emulator

NAME = "shouter"
_WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
_TEXT = "trio"


def _signature(title: str, encoding: str = "utf8") -> Mapping[str, Any]:
    parameters = [{"parameter_name": title.lower(), "data_encoding": encoding}]
    facts = {"display_title": title, "data_domain": "prose", "data_encoding": encoding, "receive_format": "File"}
    return {**facts, "parameters": parameters}


def config_of(weights: Path) -> Mapping[str, Any]:
    """Describe the model of the demo."""
    return {
        "name": NAME,
        "version_label": "v1",
        "model_class": "text",
        "short_description": "Says it louder.",
        "long_description": "Answers with its input in capitals.",
        "assets": [{"asset_name": "File", "data": weights}],
        "inputs": [_signature("Words")],
        "outputs": [_signature("Answer")],
    }


@attrs.define(eq=False)
class NormanShow:
    """The steps of the demo: sign up, upload a model, invoke it with a file, a text and a stream, save an output."""

    emulator: Emulator
    output: OutputFlags
    folder: Path

    async def run(self) -> None:
        """Take the steps; what they write stays in `folder`."""
        account = await Norman.signup("demo", self.emulator.norman_base_url)
        await self._write(f"signed up as {shown(account.account.name)} at the emulated Norman service\n")
        async with Norman(account.api_key, self.emulator.norman_base_url) as norman:
            weights = await trio.to_thread.run_sync(self._prepare)
            began = trio.current_time()
            model = await norman.upload_model(config_of(weights))
            self.emulator.register_model(NAME, lambda inputs: inputs["Words"].upper())
            size, seconds = shown_size(len(_WEIGHTS)), trio.current_time() - began
            await self._write(f"uploaded model {shown(model.name)}: {size}, encrypted; built after {seconds:.1f} s\n")
            file = self.folder / "words.txt"
            for what, data in (("a file", file), ("a text", _TEXT), ("a stream", io.BytesIO(b"flowing words"))):
                await self._invoke(norman, what, data)

    async def _invoke(self, norman: Norman, what: str, data: object) -> None:
        began = trio.current_time()
        config = {"model_name": NAME, "inputs": [{"display_title": "Words", "data": data}]}
        async with norman.open_invocation(config) as invocation:
            answer = await invocation.read("Answer")
            seconds = trio.current_time() - began
            await self._write(f"invoked it with {what}: {shown(answer.decode())} after {seconds:.1f} s\n")
            if data == _TEXT:
                await self._save(invocation)

    async def _save(self, invocation: OpenInvocation) -> None:
        saved = await invocation.outputs["Answer"].save(self.folder / "answer.txt", existing="overwrite")
        await self._write(f"saved its output as {saved.path}, sha256 {saved.sha256}\n")

    def _prepare(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "words.txt").write_text("from a file")
        weights = self.folder / "weights.bin"
        weights.write_bytes(_WEIGHTS)
        return weights

    def remove_files(self) -> None:
        """Remove what was written, and the folder if nothing else is in it. Blocks."""
        for name in ("words.txt", "weights.bin", "answer.txt"):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    async def _write(self, text: str) -> None:
        if not (self.output.json or self.output.quiet):
            await write_out(text)

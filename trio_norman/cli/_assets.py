"""``assets download``: the files of models, in parallel, verified and resumable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from .. import Norman, QueryConstraints
from ..errors import ConfigurationError
from ..norman import ModelAsset
from ..norman._building import newest
from ..transfer import DownloadResult
from ._batch import lines_for, run_batch
from ._board import Board
from ._norman_options import NORMAN, NormanFlags
from ._options import OUTPUT, DownloadFlags, OutputFlags


async def download_assets(
    *models: str, flags: DownloadFlags, service: NormanFlags = NORMAN, output: OutputFlags = OUTPUT
) -> int:
    """Download all assets of models, in parallel and verified; files that are there already are compared.

    A file is named after its model, its asset and the asset's id. Stdout has a line for each as it is done; with
    --json each line is one JSON object.

    Args:
        models: Ids or names of models; a name means its newest active version.
    """
    if not models:
        raise ConfigurationError("which models?", "name them by their ids or names")
    board = Board()
    async with service.open() as norman:
        return await run_batch(
            lambda note: norman.download_assets(
                _ids(norman, board, models), flags.to, flags.jobs, on_event=note, **flags.options
            ),
            board,
            lines_for(output, facts_of),
            quiet=output.quiet,
        )


async def _ids(norman: Norman, board: Board, words: Sequence[str]) -> AsyncGenerator[str, None]:
    for word in dict.fromkeys(words):
        id_ = word
        if not word.isdigit():
            found = await norman.persist.models.get_models(QueryConstraints.equals("Models", "Name", word))
            model = newest(found.values(), word)
            id_ = word if model is None else model.id
        board.expect(None)
        yield id_
    board.is_listed = True


def facts_of(result: DownloadResult) -> Mapping[str, object]:
    """Return what identifies a result's asset."""
    item = result.item
    if isinstance(item, ModelAsset):
        return {"model_id": item.model_id, "asset_id": item.id, "asset_name": item.asset_name}
    return {"model_id": item, "asset_id": None, "asset_name": None}

"""The commands, and what their help says besides their docstrings.

Each is named by its module and imported when it is called: a download need not wait for what speaks to other services.
"""

from __future__ import annotations

from cyclopts import App, Parameter

from .._version import __version__
from ._exits import TABLE

#: Commands that go on where they were when the same line is run again.
RESUMABLE = frozenset({"demo", "fetch", "download_checkpoints", "download_assets"})

app = App(
    name="trio-norman",
    help="Model platforms from the shell: bulk, parallel, resumable and verified downloads of checkpoints.",
    version=__version__,
    help_format="plaintext",
    help_epilogue=f"Try it without an account: trio-norman demo\n\n{TABLE}",
    default_parameter=Parameter(negative=(), show_default=False),
    backend="trio",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


def _group(name: str, help_: str) -> App:
    group = App(name=name, help=help_, help_epilogue=TABLE)
    app.command(group)
    return group


def _add(group: App, name: str, command: str, *examples: str) -> None:
    lines = "\n".join(f"  {example}" for example in examples)
    group.command(f"{__package__}.{command}", name=name, help_epilogue=f"Examples:\n{lines}\n\n{TABLE}")


def import_all() -> None:
    """Import every command, for a help that tells what each does."""
    for group in app.resolved_commands().values():
        group.resolved_commands()


_add(app, "demo", "_demo:demo", "trio-norman demo", "trio-norman demo --size 64MiB -j 4 --to /tmp/demo")
_add(
    app,
    "serve",
    "_serve:serve",
    "trio-norman serve --port 8080",
    "trio-norman serve --runs 3 --checkpoints 100 --size 1GiB",
)
_add(
    app,
    "fetch",
    "_fetch:fetch",
    r"printf 'https://example.org/a.zip\ta.zip\n' | trio-norman fetch - --to models/",
    "trio-norman fetch list.tsv --to models/ -j 16 --json",
)
_add(
    app,
    "bench",
    "_bench:bench",
    "trio-norman bench https://example.org/large.bin",
    "trio-norman bench https://example.org/large.bin --seconds 5 --max-connections 64 --plot link.svg",
)
_add(app, "whoami", "_nouns:whoami", "trio-norman whoami", "trio-norman whoami --json --api-key-file ~/.key")

_weights = _group("weights", "The account's weights.")
_add(_weights, "list", "_nouns:list_weights", "trio-norman weights list", "trio-norman weights list --limit 5 --json")

_runs = _group("runs", "Training runs.")
_add(
    _runs,
    "list",
    "_nouns:list_runs",
    "trio-norman runs list",
    "trio-norman runs list --json | jq '.[].training_run_id'",
)
_add(_runs, "show", "_nouns:show_run", "trio-norman runs show 6nb0yglasllp")

_checkpoints = _group("checkpoints", "Checkpoints of training runs: list, download, delete.")
_add(
    _checkpoints,
    "list",
    "_checkpoints:list_checkpoints",
    "trio-norman checkpoints list",
    "trio-norman checkpoints list 6nb0yglasllp --limit 10",
)
_add(_checkpoints, "info", "_checkpoints:checkpoint_info", "trio-norman checkpoints info USER/RUN/weights/step-0100")
_add(
    _checkpoints,
    "url",
    "_checkpoints:checkpoint_url",
    'curl -o a.zip "$(trio-norman checkpoints url 6nb0yglasllp 8gs40d2k1m)"',
)
_add(
    _checkpoints,
    "download",
    "_checkpoints:download_checkpoints",
    "trio-norman checkpoints download 6nb0yglasllp --to models/",
    "trio-norman checkpoints download --all --to models/ -j 16 --max-connections 32",
    "trio-norman checkpoints download --checkpoint 8gs40d2k1m --to models/ --json",
)
_add(
    _checkpoints,
    "delete",
    "_checkpoints:delete_checkpoint",
    "trio-norman checkpoints delete 6nb0yglasllp 8gs40d2k1m",
    "trio-norman checkpoints delete 6nb0yglasllp 8gs40d2k1m --yes",
)

_sessions = _group("sessions", "Sessions: what one connection of a client has made.")
_add(_sessions, "list", "_nouns:list_sessions", "trio-norman sessions list --limit 20")
_add(_sessions, "show", "_nouns:show_session", "trio-norman sessions show SESSION")

_samplers = _group("samplers", "Samplers.")
_add(_samplers, "show", "_nouns:show_sampler", "trio-norman samplers show SAMPLER")

_add(app, "signup", "_norman:signup", "trio-norman signup alice --base-url https://.../v0 --save-key ~/.norman-key")

_models = _group("models", "Models of the Norman service: upload, list.")
_add(
    _models,
    "upload",
    "_norman:upload_model",
    "trio-norman models upload model.toml",
    "trio-norman models upload model.json --json",
)
_add(_models, "list", "_norman:list_models", "trio-norman models list", "trio-norman models list --limit 5 --json")

_add(
    app,
    "invoke",
    "_norman:invoke",
    "trio-norman invoke image_reverser --input 'Input Image=@cat.png' --output 'Output Image=tac.png'",
    "trio-norman invoke text_reverser --input 'Input Text=hello' --json",
)

_assets = _group("assets", "Files of models at the Norman service.")
_add(_assets, "download", "_assets:download_assets", "trio-norman assets download image_reverser --to models/ -j 4")
_endpoints = _group("endpoints", "Inference endpoints: list, look at, ask.")
_add(_endpoints, "list", "_endpoints:list_endpoints", "trio-norman endpoints list", "trio-norman endpoints list --json")
_add(_endpoints, "show", "_endpoints:show_endpoint", "trio-norman endpoints show echo-async")
_add(
    _endpoints,
    "predict",
    "_endpoints:predict",
    "trio-norman endpoints predict echo-sync --args '{\"x\": 1}'",
    "trio-norman endpoints predict echo-async --many requests.jsonl -j 64 --timeout 30",
    "trio-norman endpoints predict echo-stream --args @question.json --stream",
)

"""The command line: a function's keyword arguments become flags, and each mistake one line."""

import glob
import os
import re
import sys
import time
from argparse import SUPPRESS, ArgumentError
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from inspect import Parameter, get_annotations, signature
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader, set_parsing_settings
from yaml import YAMLError

from basics.errors import InputError
from basics.yaml_text import HostileYAMLError, check_yaml
from harness.command_line.optimizer_defaults import describe, set_usual_defaults
from harness.command_line.parser_internals import allow_bare_flags, allow_commas, defaults_of, flags_of
from harness.command_line.paths import expand_home, expanded
from harness.processes.exits import listening
from harness.processes.pipes import ending_with_reader
from harness.processes.ranks import is_rank_zero
from harness.runs.directories import find_run
from harness.runs.flag_checks import check_ranges, check_run_dir
from harness.runs.invocation import Invocation, Invoked, plain, values
from harness.runs.kept_flags import check_flags_kept
from harness.runs.layout import CONFIG
from harness.runs.names import changed_flags, check_name

# Values on the command line and in config files may name classes of these modules, and no others.
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=["lightning.pytorch.strategies", "lightning.pytorch.profilers"],
)
LONGEST = 500  # greatest number of characters in a message
ELSEWHERE = {  # what other projects call some of our flags
    **dict.fromkeys(("epochs", "trainer.max_epochs", "num_epochs"), "--max_epochs"),
    **dict.fromkeys(("learning_rate", "learning-rate", "model.lr"), "--lr"),
    **dict.fromkeys(("model", "arch"), "--net"),
    **dict.fromkeys(("ckpt_path", "checkpoint_path"), "--resume"),
    **{"activation": "--net_args.activation", "drop": "--net_args.dropout", "gpus": "--devices"},
}
_load_yaml = get_loader("yaml")


def _load_checked_yaml(text: str) -> Any:
    check_yaml(text)
    return _load_yaml(text)


set_loader("yaml", _load_checked_yaml, (YAMLError,))


def cli(
    main: Callable[..., Any],
    recipes: Mapping[str, Any] | None = None,
    args: Sequence[str] | None = None,
) -> Any:
    """Runs `main` with its arguments as flags.

    If a parameter is a dataclass, each of its fields is a flag, with its default from the parameter's default. A field
    or parameter called `invocation` gets the flags and the command. Bad input ends the process with one line on stderr
    and status 2.

    Args:
        recipes: for each `--net`, an object of that dataclass whose values replace the defaults of `main`.
        args: words to use instead of the process's own command line.
    """
    typed = list(sys.argv[1:] if args is None else args)
    args = _config_first(typed)
    with ending_with_reader(), listening(), _one_line_errors():
        _check_checkout(_script_of(main))
        _check_values(args)
        resumed = _resumed_run(args)
        parser = make_parser(main, resumed)
        usual = {"net": parser.get_default("net")} if recipes else {}  # before a recipe is chosen
        try:
            changed = _set_defaults(parser, args, recipes or {})
            flags = parser.parse_args(args)
        except ArgumentError as error:
            raise InputError(_explain(error, parser)) from error
        for source in ("config", "__default_config__"):  # the files that the flags came from
            flags.pop(source, None)
        expand_home(flags)
        if flags.get("net_args") or flags.get("loss_args"):
            from harness.command_line.named_parts import read_option_lists  # here, because it imports torch

            read_option_lists(flags)
        script = _script_of(main)
        flags.started_by = script.name  # even if the config file comes from another script
        given = plain(flags.as_dict())
        if resumed:  # before any data is generated or downloaded
            check_flags_kept(resumed, given)
        if changed and is_rank_zero():
            print(describe(flags["optimizer"], changed), flush=True)
        check_ranges(given)
        check_name(given.get("name"))
        if "run_dir" in flags and not any(map(flags.get, ("resume", "fast_dev_run", "doctor"))):
            check_run_dir(flags["run_dir"])
        changed_by_user = {} if resumed else changed_flags(given, _defaults(parser) | usual)
        invocation = Invocation(given, ("python", str(script), *typed), changed_by_user)
        return main(**_arguments(main, parser.instantiate(flags).as_dict(), invocation))


def _config_first(args: Sequence[str]) -> list[str]:
    """The words in the order in which they count: what is typed overrides a file, before whose name or after it."""
    files: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        if word.partition("=")[0] == "--config":
            files += [word] if "=" in word else [word, *islice(words, 1)]
        else:
            others.append(word)
    return [*files, *others]


def _defaults(parser: ArgumentParser) -> dict[str, Any]:
    return plain(parser.get_defaults().as_dict())


def _set_defaults(
    parser: ArgumentParser, args: Sequence[str], recipes: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Makes the recipe's flags the defaults, and completes what --help says; returns what the optimizer changes."""
    asks = [arg for arg in args if arg not in ("-h", "--help") and not arg.startswith("--print_config")]
    if recipes and (recipe := recipes.get(parser.parse_args(asks)["net"])):
        parser.set_defaults(values(recipe))
    if {"-h", "--help"} & set(args) and defaults_of(parser, ["net_args"]):
        with suppress(ArgumentError):  # such as a missing script or checkpoint; --help shows what is missing
            asked = parser.parse_args(asks)
            _describe_parts(parser, asked, recipes)
    return set_usual_defaults(parser, asks) if _names_optimizer(args) else {}


def _describe_parts(parser: ArgumentParser, asked: Namespace, recipes: Collection[str]) -> None:
    if "checkpoint" not in asked:  # which would say what the network is
        from harness.command_line.named_parts import describe_parts  # here, because it imports torch

        describe_parts(parser, asked, recipes)


def _script_of(main: Callable[..., Any]) -> Path:
    return Path(str(sys.modules[main.__module__].__file__))


def _check_checkout(script: Path) -> None:
    """Refuses a script of another checkout than this, in which an environment of this one would run this code."""
    own = Path(__file__).resolve()
    place = own.relative_to(own.parents[2])  # harness/command_line/cli.py
    for folder in script.resolve().parents:
        if (folder / place).is_file() and not own.samefile(folder / place):
            raise InputError(
                f"{script}: is of the checkout {folder}, but this environment imports {own.parents[2]}; use"
                f" that checkout's own environment, or set PYTHONPATH={folder}"
            )


def make_parser(main: Callable[..., Any], resumed: Path | None = None) -> ArgumentParser:
    """The parser for main's flags; their defaults are the flags of the resumed run, if there is one."""
    # jsonargparse expects a glob pattern.
    files: list[str | PathLike[Any]] = [glob.escape(str(resumed / CONFIG))] if resumed else []
    # An abbreviation could mean another flag than the one in mind, such as --model for --model_registry.
    parser = ArgumentParser(exit_on_error=False, default_config_files=files, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="a file with flags, such as a run's config.yaml")
    grouped = {name: each for name, each in _parameters(main).items() if is_dataclass(each.annotation)}
    parser.add_function_arguments(main, None, as_positional=True, skip={*grouped, "invocation"})
    for parameter in grouped.values():
        _add_fields(parser, parameter.annotation)
        if parameter.default is not parameter.empty:
            parser.set_defaults(values(parameter.default))
    parser.add_argument("--own_callbacks", type=list[str], default=[], help=SUPPRESS)  # the script's; in config.yaml
    parser.add_argument("--started_by", default=_script_of(main).name, help=SUPPRESS)  # kept in config.yaml
    allow_bare_flags(parser)
    allow_commas(parser)
    return parser


def _parameters(main: Callable[..., Any]) -> Mapping[str, Parameter]:
    return signature(main, eval_str=True).parameters


def _add_fields(parser: ArgumentParser, kind: type) -> None:
    """Adds the fields of a dataclass, grouped by the class that defines them, the most derived class first."""
    seen = {"invocation"}
    for part in filter(is_dataclass, kind.__mro__):
        own = get_annotations(part).keys() - seen
        if own:
            others = {each.name for each in fields(part)} - own
            parser.add_class_arguments(part, None, as_positional=True, skip=others)
        seen |= own


def _arguments(main: Callable[..., Any], flags: dict[str, Any], invocation: Invocation) -> dict[str, Any]:
    """The arguments to call `main` with."""
    arguments: dict[str, Any] = {}
    for name, parameter in _parameters(main).items():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            chosen = {each.name: flags[each.name] for each in fields(kind) if each.name in flags}
            known: dict[str, Any] = {"invocation": invocation} if issubclass(kind, Invoked) else {}
            arguments[name] = kind(**chosen, **known)
        else:
            arguments[name] = invocation if name == "invocation" else flags[name]
    return arguments


def _names_optimizer(args: Sequence[str]) -> bool:
    """Whether the optimizer may differ from the recipe's; in a resumed run all flags count as given."""
    return any(arg.startswith(("--optimizer", "--config")) for arg in args)


def _check_values(args: Sequence[str]) -> None:
    """Refuses values that are nested too deeply; jsonargparse reads numbers with a loader of its own."""
    for arg in args:
        flag, _, inline = arg.partition("=")
        try:
            check_yaml(inline if flag.startswith("--") else arg)
        except HostileYAMLError as error:
            raise InputError(f"{_shortened(arg)}: {error}") from error
        except (YAMLError, UnicodeEncodeError):
            pass  # not YAML, such as a text with a colon, or a file's name that is not UTF-8


def _resumed_run(args: Sequence[str]) -> Path | None:
    """The directory of the run that `--resume` names; None for `auto`, which looks for a run by its flags."""
    for arg, value in zip(args, [*args[1:], ""], strict=False):  # nothing follows the last word
        name, equals, inline = arg.partition("=")
        run = inline if equals else value
        if name == "--resume" and run != "auto":
            return find_run(expanded(run))[0]
    return None


def _explain(error: ArgumentError, parser: ArgumentParser) -> str:
    """jsonargparse's message, reduced to the flag, the value, and what was expected."""
    text = str(error)
    if unknown := re.search(r"unrecognized arguments: (\S+)", text):
        flag = unknown[1].partition("=")[0]
        nearest = _nearest(flag, flags_of(parser))
        return f"{flag}: no such flag" + (f"; did you mean {nearest}?" if nearest else "; --help lists them")
    if path := re.search(r"Parser key \"(\S+)\": (File does not exist|Path is not a file): '(.*)'", text):
        return f"--{path[1]} {path[3]}: {'no such file' if 'exist' in path[2] else 'is not a file'}"
    key, value = re.search(r'Parser key "(\S+)"', text), re.search(r"(?:Given|Got) value: (.*)", text)
    if key and value and (wanted := _wanted(text)):
        kinds = re.sub(r"<class '(\w+)'>|typing\.", r"\1", " or ".join(dict.fromkeys(wanted)))
        kinds = re.sub(r"Literal\[(.*?)\]", _choices, kinds)
        return f"--{key[1]} {_shortened(value[1].strip())}: expected {_shortened(kinds)}"
    return _shortened(text)


def _wanted(text: str) -> list[str]:
    """The kinds of value that jsonargparse's message says were expected, but for null."""
    wanted = [kind for kind in re.findall(r"Expected an? (.*?)(?:\. |$)", text, re.M) if "NoneType" not in kind]
    kinds = re.search(r"Subtypes: (.*)", text)
    if kinds and (choices := re.search(r"typing\.Literal\[.*?\]", kinds[1])):
        # Of choices among which are numbers, its list of errors says only that a number was expected.
        return [*(kind for kind in wanted if kind in kinds[1] and kind != choices[0]), choices[0]]
    return wanted


def _choices(found: re.Match[str]) -> str:
    """Such as "one of 16, 32", each once, though it may be a number and a text."""
    choices = dict.fromkeys(found[1].replace("'", "").split(", "))
    return f"{'one of ' * (len(choices) > 1)}{', '.join(choices)}"


def _nearest(flag: str, known: Sequence[str]) -> str:
    """The flag that was meant: by its name elsewhere, without its dashes, or misspelled; "" if none was."""
    name = flag.lstrip("-")
    meant = [ELSEWHERE.get(name, ""), f"--{name}", *get_close_matches(flag, known, n=1, cutoff=0.7)]
    return next((each for each in meant if each.partition(".")[0] in known), "")


def _shortened(text: str) -> str:
    """The text, cut to a readable length: it may quote a whole file."""
    return text if len(text) < LONGEST else text[:LONGEST] + " ..."


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns bad input into one line and exit status 2; any other error is a bug and keeps its traceback."""
    try:
        yield
    except InputError as error:
        _end(str(error))
    except RuntimeError as error:
        if (line := _refused_operator(error)) is None:
            raise
        _end(line)


def _end(line: str) -> NoReturn:
    if is_rank_zero() or not _launcher_ends():
        print(f"error: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(2)


def _refused_operator(error: RuntimeError) -> str | None:
    """The message if torch refuses an operator for not being deterministic; None for any other error."""
    refused = re.match(r"(.+?) does not have a deterministic implementation", str(error))
    if not refused:
        return None
    return (
        f"--deterministic: {refused[1]} has no deterministic kernel; --deterministic false uses another one, and"
        " --deterministic warn says where it does"
    )


def _launcher_ends(seconds: float = 10.0) -> bool:
    """Lets rank zero, which launched this process and met the same error, print its message and end first.

    Lightning kills rank zero as soon as it sees another rank fail. Returns False if rank zero
    continues, in which case the error is this rank's own.
    """
    launcher, deadline = os.getppid(), time.monotonic() + seconds
    while os.getppid() == launcher and time.monotonic() < deadline:
        time.sleep(0.1)
    return os.getppid() != launcher

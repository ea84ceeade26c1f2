"""Lists are typed with commas, in flags, in options of networks and losses, and in config files."""

from types import SimpleNamespace

import pytest
import yaml

from datamodules.csv_table import CsvOptions
from experiments import mnist
from harness.command_line.cli import cli
from harness.comparing.scripts import split_command
from lit_modules.losses import LOSSES
from lit_modules.nets import nets
from lit_modules.options import default_options, with_lists


def read(main, *args):
    return cli(main, None, list(args))


def table(options: CsvOptions = CsvOptions()) -> CsvOptions:  # noqa: B008  frozen
    return options


def image(flags: mnist.ImageFlags = mnist.DEFAULTS) -> mnist.ImageFlags:
    return flags


@pytest.mark.parametrize("text", ["3,5", "[3,5]", "3, 5", "[3.0, 5.0]"])
def test_numbers_are_typed_with_and_without_brackets(text):
    assert read(numbers, "--values", text) == [3.0, 5.0]
    assert read(numbers, f"--values={text}") == [3.0, 5.0]


def numbers(values: list[float] = [1.0]) -> list[float]:  # noqa: B006  read only
    return values


def test_one_value_is_a_list_and_no_text_an_empty_one():
    assert read(numbers, "--values", "0.4") == [0.4]
    assert read(table, "--drop", "a name", "--clip", "") == CsvOptions(drop=["a name"])


def test_texts_keep_their_spaces_inside_and_with_quotes_their_commas():
    options = read(table, "--drop", "lot area, 2nd floor,007", "--categories", '["height, cm", zip]')
    assert (options.drop, options.categories) == (["lot area", "2nd floor", "007"], ["height, cm", "zip"])


def names(names: list[str] | None = None, sizes: list[int] | None = None) -> tuple:
    return names, sizes


def test_lists_that_may_be_null():
    assert read(names, "--names", "soil,maize", "--sizes", "3,5") == (["soil", "maize"], [3, 5])
    assert read(names, "--names", "null") == (None, None)


def test_levels_of_several_columns():
    options = read(table, "--ordinals.size", "S,M,L", "--ordinals.grade", "[low, high]")
    assert options.ordinals == {"size": ["S", "M", "L"], "grade": ["low", "high"]}


def test_config_file_may_have_either(tmp_path):
    (tmp_path / "flags.yaml").write_text("lr_milestones: 0.25,0.5\nnet: mlp\nnet_args: {widths: '30,10'}\n")
    flags = read(image, "--config", str(tmp_path / "flags.yaml"))
    assert (flags.lr_milestones, flags.net_args) == ([0.25, 0.5], {"widths": [30, 10]})
    (tmp_path / "tool.yaml").write_text(yaml.safe_dump({"words": ["--max_epochs", 3, "--ema", 0.5, "--sample", True]}))
    assert read(words, "--config", str(tmp_path / "tool.yaml")) == [
        "--max_epochs",
        "3",
        "--ema",
        "0.5",
        "--sample",
        "true",
    ]


def words(words: list[str] = []) -> list[str]:  # noqa: B006  read only
    return words


@pytest.mark.parametrize(
    ("net", "typed", "expected"),
    [
        ("mlp", {"widths": "300,100"}, {"widths": [300, 100]}),
        ("mlp", {"widths": 300, "activation": "gelu"}, {"widths": [300], "activation": "gelu"}),
        ("cnn", {"widths": "8, 16,32"}, {"widths": [8, 16, 32]}),
        ("mlp", {"widths": "300,many"}, {"widths": "300,many"}),  # for the network to refuse, as it was typed
        ("cnn", {"widths": "8,16"}, {"widths": "8,16"}),  # of three
        ("mlp", {"dropout": "0.1,0.2", "wide": "1,2"}, {"dropout": "0.1,0.2", "wide": "1,2"}),
    ],
)
def test_options_become_lists_where_lists_are_expected(net, typed, expected):
    assert with_lists(nets()[net], typed) == expected


def test_options_of_every_network_and_loss_have_defaults_that_are_plain_data():
    for maker in (*nets().values(), *LOSSES.values()):
        assert yaml.safe_load(yaml.safe_dump(default_options(maker))) == default_options(maker)
    assert default_options(nets()["resnet18"]) == {"norm": "batch"}
    assert default_options(nets()["lenet5"]) == {}


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--lr_milestones", "0.5,x"], "error: --lr_milestones x: expected float"),
        (["--lr_milestones", "3,5"], "error: --lr_milestones [3.0, 5.0]: must be from 0 to 1"),
        (
            ["--sample", "--net", "mlp", "--net_args.widths", "300,x"],
            "error: net_args.widths 300,x: 'x' is not a whole number; mlp expects a list, such as [512, 256]",
        ),
    ],
)
def test_wrong_element_is_one_line_that_names_the_flag(refusal, flags, line):
    assert refusal(mnist.main, *flags) == line


def help_of(capsys, monkeypatch, *args):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        cli(mnist.main, mnist.RECIPES, [*args, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_network_and_what_the_chosen_one_takes(capsys, monkeypatch):
    text = help_of(capsys, monkeypatch, "--net", "mlp")
    said = " ".join(text.split())
    listed = said.partition("--net NET ")[2].partition("(lit_modules/nets)")[0]
    assert set(listed.replace(";", ",").replace(" which have a recipe here,", "").replace(" ", "").split(",")) == set(
        nets()
    )
    assert listed.index("speednet") < listed.index("which have a recipe here") < listed.index("resnet18")
    for flag in ("--net_args.widths 512,256,", "--net_args.activation relu,", "--net_args.residual false,"):
        assert flag in said


def test_help_of_an_unknown_network_suggests_one(refusal):
    assert "did you mean resnet18?" in refusal(mnist.main, "--net", "resnt18", "--help", recipes=mnist.RECIPES)


def test_folder_of_runs_may_be_named_before_or_after_the_script():
    before = split_command(["--run_dir", "a", "mnist.py", "--sample"])
    after = split_command(["mnist.py", "--sample", "--run_dir", "a"])
    assert sorted(before) == sorted(after) == sorted(["--run_dir", "a", "mnist.py", '--arguments=["--sample"]'])
    assert SimpleNamespace(**read(told, *after)) == SimpleNamespace(
        script="mnist.py", run_dir="a", arguments=["--sample"]
    )


def told(script: str, run_dir: str = "runs", arguments: list[str] = []) -> dict:  # noqa: B006  read only
    return {"script": script, "run_dir": run_dir, "arguments": arguments}

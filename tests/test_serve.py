"""serve.py: the page says what predict.py and predict_table.py say, to this machine's browsers only."""

import base64
import csv
import json
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from datamodules.samples import digits
from datamodules.scenes import scenes
from experiments import metric_learning, mnist, own_images, predict, predict_table, segmentation, serve, table
from harness.command_line.cli import cli
from harness.runs.checkpoints import read_checkpoint
from harness.serving.rows import written
from harness.serving.server import open_server
from harness.serving.subjects import answers_of
from harness.tasks.trained import load_model
from lit_modules.evidence import evidence

ROOT = Path(__file__).parents[1]
QUICK = ["--accelerator", "cpu", "--max_epochs", "2", "--pictures", "false", "--enable_progress_bar", "false"]
ROW = {"rooms": "4", "town": "B", "price": "$1,200.50", "sold": "2024-03-01", "size": "M"}


def only(folder):
    (run,) = folder.glob("*/*")
    return run


@pytest.fixture(scope="module")
def digit_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--sample", "--net", "softmax", "--run_dir", str(folder)])
    return only(folder)


def homes():
    rng = np.random.default_rng(0)
    rooms, prices = rng.integers(1, 8, 60), rng.uniform(1000, 9000, 60)
    return pd.DataFrame({
        "rooms": rooms,
        "town": rng.choice(["A", "B", "B", "C"], 60),
        "price": [f"${price:,.2f}" for price in prices],
        "sold": pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d"),
        "size": rng.choice(["S", "M", "L"], 60),
        "let": np.where(rooms + rng.normal(size=60) > 4, "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def row_run(tmp_path_factory):
    """Two folds of a linear net on a table with a column of each kind."""
    folder = tmp_path_factory.mktemp("rows")
    homes().to_csv(folder / "homes.csv", index=False)
    flags = ["--csv", str(folder / "homes.csv"), "--target", "let", "--task", "classification", "--net", "linear"]
    folds = ["--folds", "2", "--jobs", "1", "--test_size", "0", "--ordinals", "{size: [S, M, L]}"]
    cli(table.main, table.RECIPES, [*QUICK, *flags, *folds, "--run_dir", str(folder / "runs")])
    return only(folder / "runs")


def png(image):
    content = BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def picture(address):
    return Image.open(BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))


def test_image_gets_the_probabilities_of_predict_and_the_picture_that_the_network_sees(digit_run, tmp_path):
    image = digits().test_images[3]
    Image.fromarray(image).save(tmp_path / "digit.png")
    cli(predict.main, None, [str(digit_run), str(tmp_path / "digit.png"), "--output", str(tmp_path / "said.csv")])
    with (tmp_path / "said.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    told = answers_of(str(digit_run)).answer(png(image))
    assert told["shares"][0][0] == row["label"]
    assert dict(told["shares"]) == {str(each): pytest.approx(float(row[f"p({each})"]), abs=1e-6) for each in range(10)}
    ((title, address),) = told["pictures"]
    assert title == "as the network sees it"
    seen = picture(address)
    assert seen.size == (28, 28)


@pytest.fixture(scope="module")
def net_with_maps(tmp_path_factory):
    """A network with convolutions."""
    folder = tmp_path_factory.mktemp("maps")
    flags = ["--sample", "--net", "lenet5", "--batch_size", "256", "--run_dir", str(folder)]
    cli(mnist.main, mnist.RECIPES, [*QUICK, *flags])
    return only(folder)


def test_maps_of_a_network_with_convolutions_are_brightest_where_grad_cam_is(net_with_maps):
    image = digits().test_images[3]
    told = answers_of(str(net_with_maps)).answer(png(image))
    (_, seen), (title, address), (other, _) = told["pictures"]
    label = told["shares"][0][0]
    assert (title, other) == (f"what spoke for {label}: Grad-CAM", "what it needs, by covering each place")
    grey, painted = (np.asarray(picture(each).convert("RGB"), dtype=float) for each in (seen, address))
    model = load_model(read_checkpoint(net_with_maps / "checkpoints" / "best.ckpt")).eval()
    pixels = torch.from_numpy(grey[None, None, :, :, 0] / 255).float()
    maps = evidence(model, pixels, torch.tensor([int(label)])).grad_cam[0].numpy()
    colour = matplotlib.colormaps["inferno"](maps)[..., :3]
    wanted = (1 - 0.75 * maps[..., None]) * 0.55 * grey + 0.75 * maps[..., None] * 255 * colour
    np.testing.assert_allclose(painted, wanted, atol=1)


@pytest.fixture(scope="module")
def mask_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    cli(
        segmentation.main,
        segmentation.RECIPES,
        [*QUICK, "--max_epochs", "1", "--limit_train_batches", "4", "--run_dir", str(folder)],
    )
    return only(folder)


def photo():
    """Wider than high, with a dark and a light half and noise, so that not all pixels get the same class."""
    noise = np.random.default_rng(0).integers(0, 90, (60, 90, 3))
    noise[:, 45:] += 160
    return noise.astype(np.uint8)


def test_mask_of_predict_lies_over_the_picture_with_the_share_of_each_class(mask_run, tmp_path):
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    cli(predict.main, None, [str(mask_run), str(tmp_path / "photo.png"), "--output", str(tmp_path / "said.csv")])
    said, mask = pd.read_csv(tmp_path / "said.csv"), np.asarray(Image.open(tmp_path / "said" / "photo.png"))
    assert len(np.unique(mask)) > 1
    told = answers_of(str(mask_run)).answer(png(photo()))
    names = [column[6:-1] for column in said if column.startswith("share(")]
    assert {name: share for name, share, _ in told["shares"]} == {
        name: pytest.approx(said[f"share({name})"][0], abs=1e-6) for name in names
    }
    colours = {name: [int(text[at : at + 2], 16) for at in (1, 3, 5)] for name, _, text in told["shares"]}
    (_, image), (title, over) = told["pictures"]
    assert title == "its mask"
    assert (np.asarray(picture(image)) == photo()).all()
    grey = photo().mean(2, keepdims=True)
    layer = np.array([colours[name] for name in names])[mask]
    wanted = np.where(mask[..., None] > 0, 0.25 * grey + 0.75 * layer, 0.3 * 255 + 0.5 * grey)
    np.testing.assert_allclose(np.asarray(picture(over)), wanted, atol=1)


@pytest.fixture(scope="module")
def embedding_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    flags = ["--net", "mlp", "--baselines", "false", "--run_dir", str(folder)]
    cli(metric_learning.main, metric_learning.RECIPES, [*QUICK, *flags])
    return only(folder)


def test_neighbours_and_distances_are_those_of_scikit_learn(embedding_run):
    arrays = digits()
    ((_, seen), *found) = answers_of(str(embedding_run)).answer(png(arrays.test_images[3]))["pictures"]
    model = load_model(read_checkpoint(embedding_run / "checkpoints" / "best.ckpt")).eval()
    with torch.no_grad():
        asked, gallery = (
            model(torch.from_numpy(np.array(images)).unsqueeze(1) / 255).double().numpy()
            for images in (np.asarray(picture(seen))[None], arrays.train_images)
        )
    distances, rows = NearestNeighbors(n_neighbors=len(found), metric="cosine").fit(gallery).kneighbors(asked)
    assert len(found) == 11
    for (title, address), row, distance in zip(found, rows[0], distances[0], strict=True):
        assert (np.asarray(picture(address)) == arrays.train_images[row]).all()
        label, number, _ = title.replace(",", "").split()
        assert label == str(arrays.train_labels[row])
        assert float(number) == pytest.approx(distance, abs=6e-4)


def test_row_gets_the_probabilities_of_predict_table_by_the_mean_of_folds(row_run, tmp_path):
    pd.DataFrame([ROW]).to_csv(tmp_path / "row.csv", index=False)
    cli(predict_table.main, None, [str(row_run), str(tmp_path / "row.csv"), "--output", str(tmp_path / "said.csv")])
    said = pd.read_csv(tmp_path / "said.csv")
    told = answers_of(str(row_run)).answer(json.dumps(ROW).encode())
    assert dict(told["shares"]) == {name: pytest.approx(said[f"p({name})"][0]) for name in ("yes", "no")}
    assert told["shares"][0][0] == said["let"][0]
    assert told["notes"] == []
    unseen = answers_of(str(row_run)).answer(json.dumps(ROW | {"town": "Z"}).encode())
    assert "this row, column 'town': 1 value that training has not seen, first 'Z'" in unseen["notes"][0]


def test_number_of_a_regression_is_that_of_predict_table(tmp_path):
    flags = ["--sample", "--net", "linear", "--folds", "0", "--run_dir", str(tmp_path / "r")]
    cli(table.main, table.RECIPES, [*QUICK, *flags])
    run = only(tmp_path / "r")
    row = {field["name"]: field["value"] for field in answers_of(str(run)).about["fields"]}
    pd.DataFrame([row]).to_csv(tmp_path / "row.csv", index=False)
    cli(predict_table.main, None, [str(run), str(tmp_path / "row.csv"), "--output", str(tmp_path / "said.csv")])
    number = pd.read_csv(tmp_path / "said.csv").iloc[0, 1]
    assert answers_of(str(run)).answer(json.dumps(row).encode())["number"] == f"{number:.4g}"


@pytest.mark.parametrize(("task", "folds"), [("regression", "0"), ("multilabel", "2")])
def test_number_or_labels_of_an_image_are_those_of_predict(tmp_path, task, folds):
    flags = ["--sample", "--net", "softmax", "--task", task, "--folds", folds, "--jobs", "1", "--lr", "0.001"]
    cli(own_images.main, own_images.RECIPES, [*QUICK, *flags, "--run_dir", str(tmp_path / "r")])
    run = only(tmp_path / "r")
    image = scenes(1, 1).test_images[0]
    Image.fromarray(image).save(tmp_path / "scene.png")
    cli(predict.main, None, [str(run), str(tmp_path / "scene.png"), "--output", str(tmp_path / "said.csv")])
    row = pd.read_csv(tmp_path / "said.csv").iloc[0]
    answers = answers_of(str(run))
    told = answers.answer(png(image))
    assert told["pictures"][0][0] == "as the network sees it"
    if task == "regression":
        assert told["number"] == f"{row.iloc[1]:.4g}"
    else:
        assert "the mean of 2 models" in answers.about["text"]
        assert dict(told["shares"]) == pytest.approx(
            {name[2:-1]: row[name] for name in row.index if name.startswith("p(")}, abs=1e-6
        )


def test_fields_have_kinds_choices_and_usual_values(row_run):
    fields = {field["name"]: field for field in answers_of(str(row_run)).about["fields"]}
    frame = homes()
    assert list(fields) == ["rooms", "town", "price", "sold", "size"]
    assert fields["town"]["options"] == ["A", "B", "C", ""]
    counts = frame["town"].value_counts()
    assert counts[fields["town"]["value"]] == counts.max()
    assert (fields["size"]["options"], fields["size"]["kind"]) == (["S", "M", "L", ""], "from S to L")
    assert fields["rooms"]["kind"] == "number"
    training = frame.iloc[np.setdiff1d(np.arange(60), np.load(row_run / "fold0" / "predictions.npz")["rows"])]
    assert float(fields["rooms"]["value"]) == training["rooms"].median()
    prices = training["price"].str.replace("[$,]", "", regex=True).astype(float)
    assert fields["price"]["value"] == f"${prices.median():.2f}"
    assert fields["sold"]["value"] in set(frame["sold"])


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.5, "number", "0.5"), (40.0, "percent", "40%"), (1200.5, "currency €, decimal comma", "€1200,50"),
        (40.0, "unit kg", "40 kg"), (1.5, "decimal comma", "1,5"), (1010.0, "thousands", "1010"), (1e-7, "unit kg", ""),
        (8 + 5 / 60, "time", "8:05"), (132 + 15 / 60 + 9 / 3600, "duration", "132:15:09"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_the_others_of_their_column(value, kind, text):
    assert written(value, kind) == text


@pytest.fixture(scope="module")
def server(digit_run):
    with open_server(answers_of(str(digit_run)), 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def request(server, method="POST", path="/answer", body=b"", **headers):
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, {name.capitalize(): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_what_is_no_image_or_row_is_said_on_the_page(server, row_run):
    status, content = request(server, body=b"no image")
    assert status == 400
    assert json.loads(content) == {"error": "unreadable files: 1, namely this one (no image of a known format)"}
    rows = answers_of(str(row_run))
    for body, named in [
        (b"{", "is not JSON"), (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a text for each column"), (b'{"rooms": "4"}', "'town' is missing"),
        (json.dumps(ROW | {"rooms": "many"}).encode(), "this row, line 1, column 'rooms': 'many' is not a number"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=named):
            rows.answer(body)


def test_file_that_is_no_image_is_said_by_pages_of_masks_and_neighbours(mask_run, embedding_run):
    for run in (mask_run, embedding_run):
        with pytest.raises(ValueError, match=r"^unreadable files: 1, namely this one \(no image of a known format\)$"):
            answers_of(str(run)).answer(b"no image")


def test_only_pages_of_the_server_itself_are_answered(server):
    image = png(digits().test_images[0])
    here = f"127.0.0.1:{server.server_port}"
    assert request(server, body=image, origin=f"http://{here}")[0] == 200
    assert request(server, body=image, origin="http://elsewhere.example")[0] == 403
    assert request(server, "GET", "/about", host="elsewhere.example")[0] == 403
    assert request(server, "GET", "/about", host="[")[0] == 403
    assert request(server, "GET", "/about")[0] == 200
    assert request(server, "GET", "/../../etc/passwd")[0] == 404
    assert request(server, "GET", "/")[1].startswith(b"<!doctype html>")
    assert request(server, body=b"", content_length="9999999999")[0] in (200, 400, 413)
    for length in ("abc", "-1"):
        assert request(server, **{"content-length": length})[0] == 400


def test_taken_port_and_missing_run_are_one_line(refusal, digit_run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(serve.main, str(digit_run), "--port", str(port))
    assert line == f"error: --port {port}: is taken by another program; --port 0 takes any that is free"
    assert "--port 70000: cannot be used" in refusal(serve.main, str(digit_run), "--port", "70000")
    assert "nothing" in refusal(serve.main, str(tmp_path / "nothing"))


def start(run):
    """The command of a page on any free port."""
    return [sys.executable, str(ROOT / "experiments" / "serve.py"), str(run), "--port", "0"]


@pytest.mark.slow
def test_control_c_ends_it_in_peace(digit_run):
    process = subprocess.Popen(start(digit_run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "", "")


DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], "digit.png", { type: "image/png" }));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
"""


@pytest.mark.slow
class TestInABrowser:
    @pytest.fixture(autouse=True)
    def needs_a_browser(self):
        pytest.importorskip("selenium", reason="selenium, which drives the browser, is not installed")
        from tensorboard_page import missing_programs

        if missing := missing_programs():
            pytest.skip(f"not installed: {', '.join(missing)}")

    def test_picture_that_is_dropped_gets_probabilities_and_maps(self, net_with_maps, tmp_path):
        from tensorboard_page import page_of

        image = png(digits().test_images[3])
        name, share = answers_of(str(net_with_maps)).answer(image)["shares"][0]
        with page_of(start(net_with_maps), tmp_path) as page:
            page.driver.get(page.address)
            page.wait_for("Drop an image here", "lenet5, 10 classes")
            page.driver.execute_script(DROP, base64.b64encode(image).decode())
            text = page.wait_for(f"{name} {100 * share:.2f} %", "as the network sees it", f"spoke for {name}: Grad-CAM")
            assert text.count(" %") == 10
            page.wait_until(lambda: page.each("img", "element.naturalWidth") == [28] * 3, "the maps")
            (tmp_path / "text.txt").write_text("no image")
            page.driver.find_element("css selector", "input[type=file]").send_keys(str(tmp_path / "text.txt"))
            assert " %" not in page.wait_for("no image of a known format")

    def test_row_that_is_filled_in_gets_its_prediction(self, row_run, tmp_path):
        from tensorboard_page import page_of

        answers = answers_of(str(row_run))
        usual = {field["name"]: field["value"] for field in answers.about["fields"]}
        first, then = (answers.answer(json.dumps(row).encode())["shares"][0] for row in (usual, usual | {"rooms": "7"}))
        with page_of(start(row_run), tmp_path) as page:
            page.driver.get(page.address)
            page.wait_for("let", "linear, the mean of 2 models", f"{first[0]} {100 * first[1]:.2f} %")
            box = page.driver.find_element("name", "rooms")
            box.clear()
            box.send_keys("7")
            page.driver.find_element("css selector", "button").click()
            page.wait_for(f"{then[0]} {100 * then[1]:.2f} %")
            box.clear()
            box.send_keys("many")
            page.driver.find_element("css selector", "button").click()
            page.wait_for("column 'rooms': 'many' is not a number")

    def test_mask_has_the_colours_of_its_legend(self, mask_run, tmp_path):
        from tensorboard_page import page_of

        name, share, _ = answers_of(str(mask_run)).answer(png(photo()))["shares"][0]
        with page_of(start(mask_run), tmp_path) as page:
            page.driver.get(page.address)
            page.wait_for("Drop an image here", "What is where in this image?")
            page.driver.execute_script(DROP, base64.b64encode(png(photo())).decode())
            page.wait_for(f"{name} {100 * share:.2f} %", "its mask")
            page.wait_until(lambda: page.each("img", "element.naturalWidth") == [90] * 2, "the mask")
            swatches = page.each(".swatch", "getComputedStyle(element).backgroundColor")
            assert len(set(swatches)) == len(page.each("tr", "1")) > 1

    def test_nearest_training_images_are_shown_with_their_distances(self, embedding_run, tmp_path):
        from tensorboard_page import page_of

        image = png(digits().test_images[3])
        titles = [title for title, _ in answers_of(str(embedding_run)).answer(image)["pictures"]]
        with page_of(start(embedding_run), tmp_path) as page:
            page.driver.get(page.address)
            page.wait_for("Drop an image here", "training images are most like this one?")
            page.driver.execute_script(DROP, base64.b64encode(image).decode())
            page.wait_for(*titles)
            page.wait_until(lambda: page.each("img", "element.naturalWidth") == [28] * 12, "the neighbours")

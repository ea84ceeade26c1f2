"""Which of the arrays below .arrays/ are kept, and which are removed to make room."""

import gc
import os

import numpy as np
import pytest
from folders import names_in
from photos import colours, photos, ready, save

from datamodules.arrays import FILES
from datamodules.claims import claim, remove_unused


def sizes(root):
    return sorted(path.name.partition("px")[0] for path in (root / ".arrays").glob("*px-*"))


def decoded(root, size):
    """Decodes the folder at that size, in a process that then ends, as far as claims go."""
    ready(root, image_size=size)
    gc.collect()


def test_new_arrays_take_the_place_of_those_that_nobody_uses(tmp_path, capsys):
    photos(tmp_path, ant=5, bee=5)
    used = ready(tmp_path, image_size=16)
    for size in (20, 24, 28):
        decoded(tmp_path, size)
    assert sizes(tmp_path) == ["16", "28"]
    assert "removed arrays that were not in use: 24px-" in capsys.readouterr().out
    assert len(colours(used.arrays.train_images)) == 8
    assert used.describe().startswith("6 training")  # reads skipped.json
    del used
    gc.collect()
    decoded(tmp_path, 32)
    assert sizes(tmp_path) == ["32"]


def test_changed_folder_leaves_nothing_of_its_earlier_state(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    decoded(tmp_path, 16)
    save(tmp_path / "train" / "ant" / "new.png")
    decoded(tmp_path, 16)
    assert sizes(tmp_path) == ["16"]


def test_mapped_arrays_outlive_their_files(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    arrays = ready(tmp_path, image_size=16).arrays
    before = colours(np.concatenate([arrays.train_images, arrays.test_images]))
    gc.collect()
    decoded(tmp_path, 20)
    assert sizes(tmp_path) == ["20"]
    assert colours(np.concatenate([arrays.train_images, arrays.test_images])) == before


def test_leftovers_go_and_what_is_not_ours_stays(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    arrays = tmp_path / ".arrays"
    for left in ("64px-1-0123456789abcdef", ".64px-1-0123456789abcdef-k2_x8q", "80px-2-0123456789abcdef", "mine"):
        (arrays / left).mkdir(parents=True)
        (arrays / left / FILES[0]).write_text("")
    (arrays / "64px-1-0123456789abcdef" / FILES[1]).write_text("")  # whole; the other one is half removed
    (arrays / ".64px-1-0123456789abcdef.lock").write_text("")
    decoded(tmp_path, 16)
    assert {name.partition("-")[0] for name in names_in(arrays)} == {"16px", "mine"}
    (folder,) = arrays.glob("16px-*")
    (folder / FILES[1]).unlink()  # a removal that was interrupted
    decoded(tmp_path, 16)
    assert (folder / FILES[1]).exists()


def test_arrays_of_two_folders_in_the_cache_do_not_make_room_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, count in (("some", 5), ("others", 6)):
        photos(tmp_path / name, ant=count, bee=count)
        decoded(tmp_path / name, 16)
        decoded(tmp_path / name, 20)
    assert [path.name[:4] for path in tmp_path.glob("cache/own_images/*/*px-*")] == ["20px", "20px"]


def test_claim_holds_until_it_is_closed(tmp_path):
    folder = tmp_path / "arrays"
    assert claim(folder) is None
    folder.mkdir()
    (folder / FILES[1]).write_text("")
    first, second = claim(folder), claim(folder)
    first.close()
    assert remove_unused([folder]) == []
    second.close()
    assert remove_unused([folder]) == [folder]
    assert not folder.exists()


# Links.


def test_link_to_a_folder_above_or_of_another_class_adds_nothing(tmp_path):
    root = photos(tmp_path / "photos", ant=5, bee=5)
    save(root / "train" / "bee" / "deep" / "one.png", (1, 1, 1))
    save(tmp_path / "elsewhere" / "more" / "two.png", (2, 2, 2))
    links = {
        "train/ant/all": root / "train",
        "train/ant/home": tmp_path,
        "train/ant/itself": root / "train" / "ant",
        "train/ant/of bees": root / "train" / "bee" / "deep",
        "train/bee/elsewhere": tmp_path / "elsewhere",
        "train/bee/more": tmp_path / "elsewhere" / "more",
    }
    for link, target in links.items():
        (root / link).symlink_to(target)
    data = ready(root)
    images = np.concatenate([data.arrays.train_images, data.arrays.test_images])
    labels = np.concatenate([data.arrays.train_labels, data.arrays.test_labels])
    assert len(images) == 12
    assert set(colours(images).values()) == {1}
    assert np.bincount(labels).tolist() == [5, 7]
    passed = ", ".join(sorted({*links} - {"train/bee/elsewhere"}))
    assert f"links passed over, since what they lead to is read already: {passed}" in data.describe().splitlines()


@pytest.mark.parametrize(
    ("link", "target"),
    [("val", "test"), ("val", "train"), ("train/wasp", "train/bee"), ("test/bee", "train/bee"), ("train/wasp", ".")],
)
def test_class_or_split_that_is_a_link_to_another_is_refused(tmp_path, link, target):
    photos(tmp_path, ant=5, bee=5)
    save(tmp_path / "test" / "ant" / "0.png")
    (tmp_path / link).symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=f"{link}: a link to {(tmp_path / target).resolve()}, whose images are read"):
        ready(tmp_path)


def test_whole_folder_split_and_class_may_be_links(tmp_path):
    photos(tmp_path / "a", ant=5, bee=5)
    photos(tmp_path / "b", cat=5)
    (tmp_path / "a" / "train" / "cat").symlink_to(tmp_path / "b" / "train" / "cat")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train").symlink_to(tmp_path / "a" / "train")
    (tmp_path / "d").symlink_to(tmp_path / "c")
    data = ready(tmp_path / "d")
    assert data.classes == ("ant", "bee", "cat")
    assert len(data.arrays.train_labels) + len(data.arrays.test_labels) == 15


def test_equal_images_are_said(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    assert "equal images" not in ready(tmp_path).describe()
    for name in ("train/ant/copy.png", "test/bee/copy.png", "test/ant/copy.png"):
        save(tmp_path / name, (60, 3, 252))  # that of train/bee/3.png
    data = ready(tmp_path)
    assert data.describe().splitlines()[-1] == (
        "equal images: 3 are copies of others, 2 in another class and 2 in another split, such as"
        f" train/bee/3.png of train/ant/copy.png; listed in {data.folder / 'copies.json'}"
    )

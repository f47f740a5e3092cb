import numpy as np
import pytest
from image_folder import load_image_folder
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Classes "2" (red) and "10" (blue), in that natural order; one image of each is not square."""
    for name, colour in (("10", (0, 0, 255)), ("2", (255, 0, 0))):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20), colour).save(tmp_path / name / "a.png")
        Image.new("RGB", (30, 20), colour).save(tmp_path / name / "b.JPG", "jpeg")
    return tmp_path


def test_images_labels_and_names(folder):
    (folder / ".hidden").mkdir()
    Image.new("L", (5, 9), 255).save(folder / "2" / "grey.png")
    data = load_image_folder(str(folder), 16)
    assert data.class_names == ["2", "10"]
    assert data.images.shape == (5, 16, 16, 3) and data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.labels, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(data.images[0, 8, 8], [255, 0, 0])
    np.testing.assert_array_equal(data.images[2, 8, 8], [255, 255, 255])


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_image_folder(tmp_path / "none", 16)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        load_image_folder(tmp_path / "file", 16)


def test_one_class_is_too_few(folder):
    with pytest.raises(ValueError, match=r"at least two subfolders.*Found: \[\].*2 images lie in the folder itself"):
        load_image_folder(folder / "2", 16)


def test_a_class_without_images(folder, caplog):
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    with pytest.raises(ValueError, match="'empty' has no image"):
        load_image_folder(folder, 16)


def test_what_is_no_image_is_said_in_words(folder, caplog):
    for name in ("notes.txt", "b.pdf", "c.pdf", "d.pdf", "e.pdf"):
        (folder / "2" / name).touch()
    (folder / "10" / "notes.txt").touch()
    with caplog.at_level("WARNING", "absl"):
        assert len(load_image_folder(folder, 16).images) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/2: left out, because not an image: b.pdf, c.pdf, d.pdf and 2 more",
        f"{folder}/10: left out, because not an image: notes.txt",
    ]


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(folder, content):
    (folder / "2" / "broken.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken.jpg cannot be read as an image"):
        load_image_folder(folder, 16)


def test_a_truncated_image_is_named(folder):
    picture = folder / "2" / "b.JPG"
    picture.write_bytes(picture.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"b.JPG cannot be read"):
        load_image_folder(folder, 16)

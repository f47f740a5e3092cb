import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tinytl_keras.data.folder_source import open_folder


def read(samples):
    return [(path.decode(), int(label)) for path, label in samples.items.as_numpy_iterator()]


def test_a_quarter_of_every_class_is_held_out(folder):
    (folder / ".hidden").mkdir()
    (folder / "2" / "notes.txt").touch()
    source = open_folder(str(folder))
    assert source.class_names == ("2", "10")
    train, test = read(source.train), read(source.test)
    assert (len(train), len(test), source.validation) == (6, 2, None) == (source.train.size, source.test.size, None)
    assert [label for _, label in train] == [0, 0, 0, 1, 1, 1] and [label for _, label in test] == [0, 1]
    assert len({path for path, _ in train + test}) == 8
    assert read(open_folder(folder).test) == test
    for path, label in train + test:
        image = source.decode(tf.constant(path)).numpy()
        assert image.dtype == np.uint8
        np.testing.assert_allclose(image[20, 20], [255 * (label == 0), 0, 255 * (label == 1)], atol=2)


@pytest.mark.parametrize("others", [["val"], ["test"], ["test", "validation"]])
def test_folders_that_are_split_already(folder, others):
    root = folder.parent / "split"
    for split in ["train", *others]:
        for name in ("2", "10"):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / split / name / "0.png")
    source = open_folder(root)
    assert (source.train.size, source.test.size) == (2, 2)
    assert (source.validation is not None) == (len(others) == 2)
    (root / "train" / "3").mkdir()
    Image.new("RGB", (8, 8)).save(root / "train" / "3" / "0.png")
    with pytest.raises(ValueError, match=r"the same classes. Only one has: \['3'\]"):
        open_folder(root)


def test_only_a_training_split(folder):
    root = folder.parent / "root"
    root.mkdir()
    folder.rename(root / "train")
    with pytest.raises(ValueError, match=r"holds splits, \['train'\], and must hold 'train' and 'test'"):
        open_folder(root)


def test_pictures_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("L", (20, 10)).save(tmp_path / name / f"{index}.jpg", exif=exif)
    source = open_folder(tmp_path)
    assert source.decode(next(iter(source.train.items))[0]).shape == (20, 10, 3)


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*cifar10. A data set .* is written 'tfds:cifar10'"):
        open_folder(tmp_path / "cifar10")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        open_folder(tmp_path / "file")


def test_an_empty_folder_and_one_class(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"at least two classes. Found: \[\]. It needs one subfolder"):
        open_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"at least two classes. Found: \[\]. 4 images lie in the folder itself"):
        open_folder(folder / "2")
    (tmp_path / "empty").rmdir()
    with pytest.raises(ValueError, match=r"at least two classes. Found: \['images'\]"):
        open_folder(tmp_path)


def test_a_class_without_images_or_with_one(folder):
    (folder / "none").mkdir()
    with pytest.raises(ValueError, match="'none' has no image"):
        open_folder(folder)
    Image.new("RGB", (8, 8)).save(folder / "none" / "0.png")
    with pytest.raises(ValueError, match="'none' has one image. It needs two"):
        open_folder(folder)


def test_an_unreadable_image_is_named(folder):
    (folder / "2" / "broken.jpg").write_bytes(b"not an image")
    source = open_folder(folder)
    with pytest.raises(tf.errors.OpError, match=r"broken.jpg cannot be read as an image"):
        list(tf.data.Dataset.from_tensors(str(folder / "2" / "broken.jpg")).map(source.decode))

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tflite_export.runtime import image_folder
from tflite_export.runtime.image_folder import (
    LabelledImages,
    image_files,
    load_image_folder,
    read_image,
    save_image_folder,
)


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
    with pytest.raises(ValueError, match=r"'empty' has no image.*Found: notes.txt\."):
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


def pixels(image, **options):
    return read_image(image, **options).astype(int)


def test_an_image_of_the_right_size_is_taken_as_it_is(tmp_path):
    expected = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(expected).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (9, 7)), expected)
    grey = np.asarray(Image.fromarray(expected).convert("L"))[..., None]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (9, 7), channels=1), grey)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright(tmp_path, orientation):
    """The camera's pixels and how it was held, by the table of the EXIF standard (tag 0x0112)."""
    upright = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (6, 8)), upright)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path, channels):
    expected = np.arange(0, 256, 4, np.uint8).reshape(8, 8)
    deep = expected.astype(np.uint16) << 8 | 17
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.ascontiguousarray(deep[::-1, ::-1])).save(tmp_path / "a.png", exif=exif)
    found = read_image(tmp_path / "a.png", 8, channels=channels)
    np.testing.assert_array_equal(found, np.broadcast_to(expected[..., None], (8, 8, channels)))
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="numbers of 32 bits, mode 'F'"):
        read_image(tmp_path / "a.tif", 8)


@pytest.mark.parametrize(
    ("mode", "suffix", "off"), [("CMYK", "jpg", 2), ("RGBA", "png", 0), ("P", "gif", 20), ("RGB", "webp", 9)]
)
def test_colours_are_what_they_were_in_every_mode(tmp_path, mode, suffix, off):
    expected = np.random.default_rng(0).integers(0, 256, (3, 3, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    options = {"quality": 100} if suffix in ("jpg", "webp") else {}
    Image.fromarray(expected).convert(mode).save(tmp_path / f"a.{suffix}", **options)
    assert abs(pixels(tmp_path / f"a.{suffix}", size=24) - expected).mean() <= off


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_huge_photograph_is_never_whole_in_memory_and_looks_the_same(tmp_path, monkeypatch, orientation):
    ramp = np.add.outer(np.linspace(0, 120, 900), np.linspace(0, 130, 1200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.stack([ramp, 255 - ramp, ramp / 2], -1).astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    whole, sizes, original = pixels(tmp_path / "a.jpg", size=28), [], image_folder.ImageOps.fit
    monkeypatch.setattr(image_folder, "_LARGE", 1_000_000)
    monkeypatch.setattr(
        image_folder.ImageOps, "fit", lambda image, *a, **k: sizes.append(image.size) or original(image, *a, **k)
    )
    part = pixels(tmp_path / "a.jpg", size=28)
    assert sizes == [(150, 113) if orientation == 1 else (113, 150)]
    assert abs(whole - part).max() <= 2


def test_a_decompression_bomb_is_refused_unread(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(ValueError, match="bomb.png cannot be read as an image .*decompression bomb"):
        read_image(tmp_path / "bomb.png", 8)


def test_an_accent_that_macos_wrote_apart_is_the_same_class(folder):
    (folder / "2").rename(folder / "ka\u0308se 2")
    assert list(image_files(folder)) == ["10", "k\u00e4se 2"]
    Image.new("RGB", (5, 5)).save(folder / "10" / "with a space.PNG")
    assert [path.name for path in image_files(folder)["10"]][-1] == "with a space.PNG"
    (folder / "k\u00e4se 2").mkdir()
    with pytest.raises(ValueError, match="same name but for its encoding"):
        image_files(folder)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (32, 32), (97, 41)])
def test_the_crop_of_seven_eighths_is_that_of_the_training_recipe(tmp_path, shape):
    """Against `tinytl_keras.data`: TensorFlow's resize of the whole image, and then a cut; rounding apart."""
    from tinytl_keras.data.crops import central_crop

    ramp = np.add.outer(np.arange(shape[0]) * 1.5, np.arange(shape[1]) * 1.0)
    image = np.stack([ramp, 255 - ramp, ramp / 2], axis=-1).clip(0, 255).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = central_crop(image, 28).numpy()
    ours = pixels(tmp_path / "a.png", size=28, crop=7 / 8)
    assert abs(ours - expected).mean() < 2 and abs(ours.mean() - expected.mean()) < 1
    whole = pixels(tmp_path / "a.png", size=28)
    assert abs(whole - expected).mean() > abs(ours - expected).mean() + 1


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image .*a.jpg"):
        read_image(tmp_path / "a.jpg", 8)


def test_one_class_may_be_enough(folder):
    (folder / "10").rename(folder.parent / "aside")
    with pytest.raises(ValueError, match=r"at least two subfolders, one per class. Found: \['2'\]"):
        image_files(folder)
    assert [path.name for path in image_files(folder, fewest=1)["2"]] == ["a.png", "b.JPG"]


def test_saved_samples_come_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), np.uint8)
    samples = LabelledImages(images, np.array([0] * 11 + [1] * 12, np.int32), ["2", "10"])
    save_image_folder(samples, tmp_path / "new" / "folder")
    again = load_image_folder(tmp_path / "new" / "folder", 8)
    assert again.class_names == samples.class_names
    np.testing.assert_array_equal(again.labels, samples.labels)
    np.testing.assert_array_equal(again.images, samples.images)

import gzip
import hashlib
import http.server
import io
import json
import shutil
import socket
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from defenses.commands import fetching
from defenses.commands.fetching import fetch
from defenses.data import cifar10, mnist
from defenses.data.dataset import Bytes, Dataset, Split
from defenses.data.labelled import pictures
from defenses.data.layout import Layout, gunzipped, members, plain
from defenses.data.normalization import IMAGENET
from defenses.data.sources import SOURCES, Download, Presence, files_presence, load
from defenses.files.resize import Resize
from defenses.weights import published
from tests.paths import DATA


def digest(content):
    return hashlib.sha256(content).hexdigest()


def archived(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {**files, "readme": b"not wanted"}.items():
            member = tarfile.TarInfo(f"batches/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PARTS = {"images": b"many bytes of images" * 500, "labels": b"labels"}
ZIPPED = {f"{name}.gz": gzip.compress(content) for name, content in PARTS.items()}
ARCHIVE = {"parts.tar.gz": archived(PARTS)}
WEIGHTS = {"net-weights.pth": b"learnt" * 100}


class Server:
    """A loopback HTTP server of `files`: path -> bytes; `cut` are sent to the half, `missing` are 404."""

    def __init__(self):
        self.files, self.cut, self.asked = {}, set(), []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if self.path in outer.cut else content)

            def log_message(self, format, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    running = Server()
    running.files = {f"/official/{name}": content for name, content in {**ZIPPED, **ARCHIVE, **WEIGHTS}.items()}
    running.files |= {f"/mirror/{name}": content for name, content in {**ZIPPED, **ARCHIVE, **WEIGHTS}.items()}
    yield running
    running.close()


def digests(files):
    return {name: digest(content) for name, content in files.items()}


@pytest.fixture
def tables(server, monkeypatch):
    """Small stand-ins for mnist (files), cifar10 (an archive) and a published checkpoint, on the loopback server."""
    addresses = (f"{server.address}/official/", f"{server.address}/mirror/")
    whole = Layout(("parts", "PARTS/raw"), digests(PARTS), plain)
    zipped = Layout(("parts", "PARTS/raw"), digests(ZIPPED), gunzipped)
    packed = Layout((".",), digests(ARCHIVE), members(*PARTS))
    for name, layouts, download in (("mnist", (whole, zipped), zipped), ("cifar10", (whole, packed), packed)):
        source = SOURCES[name]._replace(
            layouts=layouts,
            download=Download(download, addresses),
            presence=lambda folder, layouts=layouts: files_presence(layouts, folder, 6, 2),
        )
        monkeypatch.setitem(SOURCES, name, source)
    (file,) = WEIGHTS
    entry = published.Published("net", "cifar10", file, digest(WEIGHTS[file])[:8], addresses[0] + file, IMAGENET, None)
    unaddressed = entry._replace(file="made-" + file, address=None, sha256=digest(WEIGHTS[file]))
    monkeypatch.setattr(fetching, "PUBLISHED", (entry, unaddressed))


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def installed(parts=PARTS):
    return {f"parts/{name}": content for name, content in parts.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_fetch_downloads_checks_and_unpacks(folder, name, server, capsys):
    assert SOURCES[name].presence(folder).state == "absent"
    written = fetch(name, folder)
    assert sorted(written) == [folder / "parts/images", folder / "parts/labels"]
    assert files_in(folder) == installed()
    assert [path.name for path in folder.iterdir()] == ["parts"]
    assert SOURCES[name].presence(folder) == Presence("complete", 6, 2)
    assert capsys.readouterr() == ("", "")
    asked = len(server.asked)
    assert fetch(name, folder) == ()
    assert len(server.asked) == asked


@pytest.mark.usefixtures("tables")
def test_fetch_gets_published_weights_by_the_digits_in_their_name(folder):
    assert fetch("net-weights.pth", folder) == (folder / "weights/net-weights.pth",)
    assert files_in(folder) == {"weights/net-weights.pth": WEIGHTS["net-weights.pth"]}


def stop_the_official_server(server, path):
    """Nothing listens at the first address any more."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for name in ("mnist", "cifar10"):
        download = SOURCES[name].download
        assert download is not None
        dead = download._replace(addresses=(f"http://127.0.0.1:{port}/", *download.addresses[1:]))
        SOURCES[name] = SOURCES[name]._replace(download=dead)


DAMAGES = {
    "dead": stop_the_official_server,
    "404": lambda server, path: server.files.pop(path),
    "cut": lambda server, path: server.cut.add(path),
    "altered": lambda server, path: server.files.update({path: server.files[path][:-1] + b"x"}),
    "shorter": lambda server, path: server.files.update({path: server.files[path][:-1]}),
}


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("name", "file"), [("mnist", "labels.gz"), ("cifar10", "parts.tar.gz")])
def test_a_mirror_steps_in(folder, name, file, damage, server):
    DAMAGES[damage](server, f"/official/{file}")
    fetch(name, folder)
    assert files_in(folder) == installed()
    assert f"/mirror/{file}" in server.asked


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("damage", ["404", "cut", "altered", "shorter"])
@pytest.mark.parametrize(("name", "file"), [("mnist", "labels.gz"), ("cifar10", "parts.tar.gz")])
def test_nothing_is_left_where_no_address_serves_the_file(folder, name, file, damage, server):
    for place in ("official", "mirror"):
        DAMAGES[damage](server, f"/{place}/{file}")
    with pytest.raises(OSError, match=rf"^{file} could not be downloaded \(http://.*; http://.*use --from FOLDER$"):
        fetch(name, folder)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(OSError, match=file):
        fetch(name, folder)
    assert not any(folder.iterdir())


@pytest.mark.usefixtures("tables")
def test_reasons_are_told(folder, server):
    server.files.pop("/official/images.gz")
    DAMAGES["altered"](server, "/mirror/images.gz")
    with pytest.raises(
        OSError, match=rf"official/images.gz: 404; .*mirror/images.gz: another sha256 than {'[0-9a-f]' * 64}"
    ):
        fetch("mnist", folder)


@pytest.mark.usefixtures("tables")
def test_fetch_replaces_what_is_damaged_and_keeps_the_rest(folder):
    fetch("mnist", folder)
    (folder / "parts/images").write_bytes(b"half of")
    (folder / "elsewhere").write_bytes(b"mine")
    assert SOURCES["mnist"].presence(folder) == Presence("altered", altered=("images",))
    fetch("mnist", folder)
    assert files_in(folder) == {**installed(), "elsewhere": b"mine"}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("name", "place", "files"),
    [
        ("mnist", ".", PARTS),
        ("mnist", ".", ZIPPED),
        ("mnist", "parts", ZIPPED),
        ("mnist", "PARTS/raw", PARTS),
        ("cifar10", ".", ARCHIVE),
        ("cifar10", "parts", PARTS),
    ],
)
def test_fetch_from_a_folder(folder, tmp_path, name, place, files, server):
    given = tmp_path / "given"
    write(given / place, files)
    fetch(name, folder, given)
    assert files_in(folder) == installed()
    assert files_in(given / place) == files
    assert server.asked == []


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("files", [PARTS, ZIPPED])
@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:-1] + b"x", lambda c: b""])
def test_a_folder_with_other_files_is_refused(folder, tmp_path, files, damage):
    last = sorted(files)[-1]
    write(tmp_path / "given", {**files, last: damage(files[last])})
    with pytest.raises(ValueError, match=rf"given/{last} must have sha256 .*, this file of \d+ bytes has another"):
        fetch("mnist", folder, tmp_path / "given")
    assert not folder.exists()


@pytest.mark.usefixtures("tables")
def test_a_folder_that_lacks_a_file_is_refused(folder, tmp_path):
    write(tmp_path / "given", {"images": PARTS["images"]})
    with pytest.raises(ValueError, match="given/labels is missing"):
        fetch("mnist", folder, tmp_path / "given")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10", "imagenet", "resnet20-12fca82f.th"])
@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_what_is_no_folder_is_refused(folder, tmp_path, name, place):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"^--from must be a folder, got {tmp_path / place}$"):
        fetch(name, folder, tmp_path / place)
    assert not folder.exists()


@pytest.mark.usefixtures("tables")
def test_weights_without_an_address_come_from_a_folder(folder, tmp_path):
    file = "made-net-weights.pth"
    with pytest.raises(ValueError, match=f"{file} has no address to download it from: use --from FOLDER"):
        fetch(file, folder)
    write(tmp_path / "given", {file: WEIGHTS["net-weights.pth"] + b"x"})
    with pytest.raises(ValueError, match=rf"given/{file} must have sha256"):
        fetch(file, folder, tmp_path / "given")
    assert not folder.exists()
    write(tmp_path / "given", {file: WEIGHTS["net-weights.pth"]})
    assert fetch(file, folder, tmp_path / "given") == (folder / "weights" / file,)


def test_fetch_knows_its_names(folder):
    with pytest.raises(ValueError, match=r"NAME must be one of digits, .*resnet20-12fca82f.th, .*, got 'kmnist'"):
        fetch("kmnist", folder)
    assert fetch("digits", folder) == ()
    assert not folder.exists()


def class_folders(root, count=3):
    for index in range(1000):
        (root / f"n{10000000 + index}").mkdir(parents=True)
    for number in range(count):
        path = root / f"n{10000000 + 5 * number}/ILSVRC2012_val_{number:08d}.JPEG"
        Image.new("RGB", (60, 50), (9 * number, 0, 0)).save(path, "JPEG")


@pytest.mark.parametrize("place", [".", "val", "imagenet/val"])
def test_imagenet_is_copied_from_class_folders(folder, tmp_path, place):
    class_folders(tmp_path / "given" / place)
    listed = [{"index": i, "wnid": f"n{10000000 + i}", "name": str(i)} for i in range(1000)]
    root = tmp_path / "given" / place if place == "." else (tmp_path / "given" / place).parent
    (root / "classes.json").write_text(json.dumps(listed))
    assert len(fetch("imagenet", folder, tmp_path / "given")) == 4
    dataset = load("imagenet", folder, Resize(32, 32))
    assert list(dataset.test.labels) == [0, 5, 10]
    assert SOURCES["imagenet"].presence(folder) == Presence("partial", 0, 3)


def test_imagenet_is_copied_from_a_flat_folder_into_class_folders(folder, tmp_path):
    class_folders(tmp_path / "sorted")
    listed = [{"index": i, "wnid": f"n{10000000 + i}", "name": str(i)} for i in range(1000)]
    given = tmp_path / "given"
    write(given, {path.name: path.read_bytes() for path in (tmp_path / "sorted").glob("*/*")})
    (given / "classes.json").write_text(json.dumps(listed))
    (given / "val.txt").write_text(
        "".join(f"{path.name} {5 * i}\n" for i, path in enumerate(sorted(given.glob("*.J*"))))
    )
    assert len(fetch("imagenet", folder, given)) == 4
    assert sorted(path.name for path in (folder / "imagenet/val").iterdir()) == ["n10000000", "n10000005", "n10000010"]
    assert list(load("imagenet", folder, Resize(32, 32)).test.labels) == [0, 5, 10]


def test_imagenet_needs_a_folder_with_whole_pictures_of_known_classes(folder, tmp_path):
    with pytest.raises(ValueError, match=r"imagenet can't be downloaded without an account: .* use --from FOLDER"):
        fetch("imagenet", folder)
    (tmp_path / "given").mkdir()
    with pytest.raises(ValueError, match=r"given must hold .png, .jpg or .jpeg files, in class folders"):
        fetch("imagenet", folder, tmp_path / "given")
    class_folders(tmp_path / "given")
    damaged = tmp_path / "given/n10000010/ILSVRC2012_val_00000002.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"ILSVRC2012_val_00000002.JPEG must be a whole picture file"):
        fetch("imagenet", folder, tmp_path / "given")
    shutil.rmtree(tmp_path / "given/n10000007")
    with pytest.raises(ValueError, match=r"classes.json is missing, and .*given has 999 of 1000 class folders"):
        fetch("imagenet", folder, tmp_path / "given")
    assert not folder.exists()


def test_load_knows_its_names(folder):
    with pytest.raises(ValueError, match=r"dataset must be one of digits, mnist, .*, imagenet, got 'x'"):
        load("x", folder)


FILES = {
    "mnist": "mnist/train-images-idx3-ubyte",
    "fashion-mnist": "fashion_mnist/train-images-idx3-ubyte",
    "cifar10": "cifar-10-batches-bin/data_batch_1.bin",
}


@pytest.mark.parametrize("name", [*FILES, "imagenet"])
def test_what_is_missing_is_named_with_what_to_do(folder, name):
    command = f"`python -m defenses data fetch {name} --data-dir {folder}"
    advice = f"{command}` gets it, or takes it --from FOLDER$"
    if name == "imagenet":
        advice = f"{command} --from FOLDER` copies it from class folders$"
    with pytest.raises(ValueError, match=f"^{folder / FILES.get(name, 'imagenet/val')} is missing; {advice}"):
        load(name, folder)
    assert not folder.exists()
    assert SOURCES[name].presence(folder).state == "absent"


@pytest.mark.parametrize("name", FILES)
def test_data_that_are_not_published_are_named_with_what_to_do(folder, name):
    layout, path = SOURCES[name].layouts[0], folder / FILES[name]
    write(path.parent, dict.fromkeys(layout.sha256, b"other data"))
    refusal = f"{path} must have sha256 {layout.sha256[path.name]}, its 10 bytes have another"
    command = f"python -m defenses data fetch {name} --data-dir {folder}"
    with pytest.raises(ValueError, match=f"^{refusal}; `{command}` gets it, or takes it --from FOLDER$"):
        load(name, folder)


def test_no_command_is_named_where_it_would_not_help(folder):
    (folder / "imagenet/val").mkdir(parents=True)
    with pytest.raises(
        ValueError,
        match=r"val must hold .png, .jpg or .jpeg files, in class folders or with a label file, it has none$",
    ):
        load("imagenet", folder)
    with pytest.raises(ValueError, match=r"resize.crop must lie in 1..resize.size = 32, got 64$"):
        load("imagenet", folder, Resize(32, 64))
    assert load("digits", folder).image_shape == (8, 8, 1)
    for name, shape in (("digits", r"\(8, 8, 1\)"), ("cifar10", r"\(32, 32, 3\)")):
        with pytest.raises(ValueError, match=rf"^resize is for picture files, {name} has images of shape {shape}$"):
            load(name, folder, Resize())


def test_load_reads_once(folder, monkeypatch):
    split = Split(Bytes(np.zeros((1, 32, 32, 3), np.uint8)), np.zeros(1, np.int32))
    reads = []

    def read(folder, resize):
        reads.append((folder, resize))
        return Dataset("imagenet", (32, 32, 3), (), None, split)

    monkeypatch.setitem(SOURCES, "imagenet", SOURCES["imagenet"]._replace(read=read))
    assert load("imagenet", folder) is load("imagenet", folder)
    load("imagenet", folder, Resize(32, 32))
    assert reads == [(folder, None), (folder, Resize(32, 32))]


def test_what_is_there_of_a_data_set(folder):
    layouts = (Layout(("parts",), digests(PARTS), plain), Layout(("parts",), digests(ZIPPED), gunzipped))
    assert files_presence(layouts, folder, 6, 2) == Presence("absent", missing=("images", "labels"))
    write(folder / "parts", {"labels.gz": ZIPPED["labels.gz"]})
    assert files_presence(layouts, folder, 6, 2) == Presence("partial", missing=("images.gz",))
    write(folder / "parts", {"images.gz": b"other"})
    assert files_presence(layouts, folder, 6, 2) == Presence("altered", altered=("images.gz",))
    write(folder / "parts", ZIPPED)
    assert files_presence(layouts, folder, 6, 2) == Presence("complete", 6, 2)


def test_every_pinned_digest_is_whole():
    layouts = [layout for source in SOURCES.values() for layout in source.layouts]
    assert len(layouts) == 9
    pinned = [digits for layout in layouts if layout is not cifar10.PARQUET for digits in layout.sha256.values()]
    assert len(set(pinned)) == len(pinned) == 30
    assert all(len(digits) == 64 and set(digits) <= set("0123456789abcdef") for digits in pinned)


@pytest.mark.skipif(not (DATA / "cifar-10-batches-bin").is_dir(), reason="the real data are not in data/")
def test_the_real_data_have_the_pinned_digests():
    for layouts in (mnist.MNIST, mnist.FASHION, cifar10.LAYOUTS):
        assert files_presence(layouts, DATA, 1, 1) == Presence("complete", 1, 1)
    assert SOURCES["imagenet"].presence(DATA).test == len(pictures(DATA / "imagenet/val")) > 0

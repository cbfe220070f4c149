# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""What Python's own libraries choose from a lock, as JSON {name: file}.

selection.py packaging LOCK OS/ARCH FLOOR        packaging.pylock selects
selection.py pip LOCK OS/ARCH FLOOR DIR          pip download does, among tiny wheels with the lock's file names"""
import json, pathlib, subprocess, sys, tomllib, zipfile
from urllib.parse import urlsplit
from urllib.parse import unquote as decode
from packaging import markers, pylock, tags, utils

def machine(platform):
    return {"linux/amd64": "x86_64", "linux/arm64": "aarch64", "darwin/arm64": "arm64"}[platform]

def platforms(platform, floor):
    if platform.startswith("darwin"):
        return list(tags.mac_platforms(tuple(map(int, floor.split("."))), "arm64"))
    oldest = 5 if platform == "linux/amd64" else 17
    out = []
    for minor in range(int(floor.split(".")[1]), oldest - 1, -1):
        out.append(f"manylinux_2_{minor}_{machine(platform)}")
        out += [f"{old}_{machine(platform)}" for old, n in (("manylinux2014", 17), ("manylinux2010", 12), ("manylinux1", 5)) if n == minor]
    return out + ["linux_" + machine(platform)]

def environment(platform):
    mac = platform.startswith("darwin")
    return dict(os_name="posix", sys_platform="darwin" if mac else "linux", platform_system="Darwin" if mac else "Linux", platform_machine=machine(platform),
                implementation_name="cpython", platform_python_implementation="CPython", implementation_version="3.12.3", python_full_version="3.12.3",
                python_version="3.12", platform_release="", platform_version="")

def last(url):
    """The file name at the end of an address."""
    return decode(urlsplit(url).path.rsplit("/", 1)[1])

def by_packaging(lock, platform, floor):
    plats = platforms(platform, floor)
    order = [*tags.cpython_tags((3, 12), abis=["cp312"], platforms=plats), *tags.compatible_tags((3, 12), interpreter="cp312", platforms=plats)]
    chosen = pylock.Pylock.from_dict(lock).select(environment=environment(platform), tags=order)
    return {p.name: s.filename if isinstance(s, pylock.PackageWheel) else last(s.url) for p, s in chosen}

def tiny(path):
    """A wheel with nothing in it but what pip reads."""
    name, version, _, tag = utils.parse_wheel_filename(path.name)
    info = path.name.split("-")[0] + "-" + path.name.split("-")[1] + ".dist-info/"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n" + "".join(f"Tag: {t}\n" for t in tag))
        z.writestr(info + "RECORD", "")

def by_pip(lock, platform, floor, directory):
    links, out = pathlib.Path(directory, "links"), pathlib.Path(directory, platform.replace("/", "-"))
    links.mkdir(parents=True, exist_ok=True)
    pins = []
    for p in lock["packages"]:
        if "marker" in p and not markers.Marker(p["marker"]).evaluate(environment(platform), context="lock_file"):
            continue
        pins.append(f"{p['name']}=={p['version']}")
        for w in p["wheels"]:
            if not (path := links / last(w["url"])).exists():
                tiny(path)
    flags = [f"--platform={p}" for p in platforms(platform, floor)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-index", "--find-links", links, "--no-deps",
                    "--only-binary=:all:", *flags, "--python-version=3.12", "--implementation=cp", "--abi=cp312", "--dest", out, *pins], check=True)
    return {utils.parse_wheel_filename(f.name)[0]: f.name for f in out.iterdir()}

def main(how, file, *rest):
    lock = tomllib.loads(pathlib.Path(file).read_text())
    print(json.dumps((by_packaging if how == "packaging" else by_pip)(lock, *rest)))

main(*sys.argv[1:])

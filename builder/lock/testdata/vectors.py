# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes vectors.json from packaging.pylock (>= 26.1), the oracle for what a
lock selects: generated locks, and for each target the file of every package
that is installed, or null for an error. A source tree counts as an error: it is
refused here. Run by hand: python vectors.py > vectors.json"""
import json, random, tomllib
from packaging import pylock, tags

TARGETS = {"darwin/arm64": ("macosx_15_0", "darwin", "Darwin", "arm64"), "linux/amd64": ("glibc_2_35", "linux", "Linux", "x86_64")}
MARKERS = ["", "sys_platform == 'darwin'", "sys_platform != 'darwin'", "python_version >= '3.12'", "python_full_version < '3.12.16'",
           "platform_machine in 'arm64 aarch64'", "'gpu' in extras", "'gpu' not in extras", "'dev' in dependency_groups",
           "'docs' in dependency_groups and sys_platform == 'linux'", "(os_name == 'nt' or platform_system == 'Linux') and implementation_name == 'cpython'"]
TAGS = ["py3-none-any", "py2.py3-none-any", "cp312-cp312-macosx_14_0_arm64", "cp312-cp312-macosx_11_0_universal2", "cp38-abi3-macosx_15_0_arm64", "cp313-cp313-macosx_15_0_arm64",
        "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_39_x86_64", "cp39-abi3-manylinux_2_5_x86_64",
        "cp312-none-any", "py312-none-manylinux_2_34_x86_64", "cp312-cp312-win_amd64", "cp312-cp312-musllinux_1_2_x86_64"]
SUM = "a" * 64

def platform_tags(platform):
    if platform == "darwin/arm64":
        return list(tags.mac_platforms((15, 0), "arm64"))
    out = []
    for minor in range(35, 4, -1):
        out.append(f"manylinux_2_{minor}_x86_64")
        out += [old + "_x86_64" for n, old in ((17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1")) if n == minor]
    return out + ["linux_x86_64"]

def wheel(rnd, name, tag):
    file = f"{name}-1.0-{tag}.whl"
    return {rnd.choice(["url", "path"]): rnd.choice(["https://index.test/x/", ""]) + file, "name": file} if rnd.random() < 0.5 else {"path": "wheels/" + file}

def toml(v):
    if isinstance(v, dict):
        return "{" + ", ".join(f"{k} = {toml(x)}" for k, x in v.items()) + "}"
    if isinstance(v, list):
        return "[" + ", ".join(map(toml, v)) + "]"
    return json.dumps(v)

def lock(rnd):
    doc = {"lock-version": "1.0", "created-by": "vectors", "extras": ["gpu"], "dependency-groups": ["dev", "docs"], "default-groups": rnd.sample(["dev", "docs"], rnd.randint(0, 2))}
    if rnd.random() < 0.3:
        doc["environments"] = rnd.sample(["sys_platform == 'darwin'", "sys_platform == 'linux'", "platform_machine == 'arm64' and os_name == 'posix'"], rnd.randint(1, 2))
    if rnd.random() < 0.4:
        doc["requires-python"] = rnd.choice([">=3.12", "==3.12.*", ">=3.10,<3.13", ">=3.13", "!=3.12.16"])
    doc["packages"] = rows = []
    for i in range(rnd.randint(1, 5)):
        name = rnd.choice(["aa", "bb", "cc", "dd", "ee", "ff"]) if rnd.random() < 0.2 else f"p{i}"
        row = {"name": name, "version": "1.0"}
        if m := rnd.choice(MARKERS):
            row["marker"] = m
        if rnd.random() < 0.1:
            row["requires-python"] = rnd.choice([">=3.9", "<3.12"])
        kind = rnd.random()
        hashes = {"hashes": {"sha256": SUM}}
        if kind < 0.08:
            row["archive"] = {"url": f"https://releases.test/{name}-1.0-py3-none-any.whl"} | hashes
        elif kind < 0.12:
            row["vcs"] = {"type": "git", "url": "https://git.test/x", "commit-id": "a" * 40}
        else:
            row["wheels"] = [wheel(rnd, name, t) | hashes for t in rnd.sample(TAGS, rnd.randint(1, 4)) + (["py3-none-any"] if rnd.random() < 0.6 else [])]
            row["wheels"] = list({json.dumps(w): w for w in row["wheels"]}.values())
        rows.append(row)
    return "\n".join(f"{k} = {toml(v)}" for k, v in doc.items()) + "\n"

def select(text, platform):
    _, sysp, system, machine = TARGETS[platform]
    env = dict(os_name="posix", sys_platform=sysp, platform_system=system, platform_machine=machine, implementation_name="cpython", platform_python_implementation="CPython",
               implementation_version="3.12.16", python_full_version="3.12.16", python_version="3.12", platform_release="", platform_version="")
    plats = platform_tags(platform)
    order = [*tags.cpython_tags((3, 12), abis=["cp312"], platforms=plats), *tags.compatible_tags((3, 12), interpreter="cp312", platforms=plats)]
    try:
        out = []
        for package, source in pylock.Pylock.from_dict(tomllib.loads(text)).select(environment=env, tags=order):
            if not isinstance(source, (pylock.PackageWheel, pylock.PackageArchive)):
                return None
            out.append(source.filename if isinstance(source, pylock.PackageWheel) else source.url.rsplit("/", 1)[1])
        return sorted(out)
    except Exception:
        return None

def main():
    rnd = random.Random(3)
    rows = []
    for _ in range(120):
        text = lock(rnd)
        rows.append({"lock": text, "want": {p: select(text, p) for p in TARGETS}})
    print(json.dumps(rows, indent=1))

main()

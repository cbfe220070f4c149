# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""Writes vectors.json from the packaging library, the oracle for tags,
wheel choice and markers. Run by hand: python vectors.py > vectors.json"""
import json, random
from unittest import mock
from packaging import tags, markers, _manylinux, utils
from packaging.tags import mac_platforms, cpython_tags, compatible_tags

TARGETS = [("darwin/arm64", "15.0", ""), ("darwin/arm64", "26.2", ""), ("linux/amd64", "", "2.35"), ("linux/arm64", "", "2.35"), ("linux/amd64", "", "2.17")]
NAMES = {"darwin/arm64": ("darwin", "Darwin", "arm64"), "linux/amd64": ("linux", "Linux", "x86_64"), "linux/arm64": ("linux", "Linux", "aarch64")}

def platforms(p, mac, glibc):
    if p.startswith("darwin"):
        return list(mac_platforms(tuple(map(int, mac.split("."))), "arm64"))
    arch = NAMES[p][2]
    v = tuple(map(int, glibc.split(".")))
    with mock.patch.object(_manylinux, "_get_glibc_version", lambda: _manylinux._GLibCVersion(*v)), \
         mock.patch.object(_manylinux, "_is_compatible", lambda *a: True), \
         mock.patch.object(_manylinux, "_have_compatible_abi", lambda *a: True):
        return list(_manylinux.platform_tags([arch])) + ["linux_" + arch]

MARKERS = """sys_platform == 'darwin'
sys_platform != 'emscripten'
platform_machine == 'arm64' or platform_machine == 'aarch64'
python_version >= '3.9'
python_version < '3.10'
python_version ~= '3.12'
python_version == '3.12.*'
python_version != '3.12'
python_full_version > '3.12.15'
python_full_version <= '3.12.16'
'3.8' <= python_version
python_version in '3.11 3.12'
python_version not in '3.11, 3.13'
implementation_name == 'cpython' and platform_python_implementation == "CPython"
os_name == 'nt' or (sys_platform == 'linux' and platform_machine == 'x86_64')
sys_platform == 'linux' and platform_machine == 'x86_64' or os_name == 'posix'
(sys_platform == 'linux' or sys_platform == 'darwin') and python_version >= '3.13'
os.name == 'posix'
python_implementation == 'CPython'
'arm' in platform_machine
'linux' not in sys_platform
platform_system == 'Darwin' and platform_machine != 'x86_64'
implementation_version >= '3.12'
python_version === '3.12'
sys_platform > 'a'
python_full_version >= '3.12.0rc1'
python_version < '3'
python_version > '3.12'
'cpu' in extras
'cpu' not in extras
'GPU_x' in extras and 'dev' in dependency_groups""".splitlines()

def main():
    out = {"targets": [], "choices": []}
    rnd = random.Random(7)
    for p, mac, glibc in TARGETS:
        plats = platforms(p, mac, glibc)
        ts = list(cpython_tags((3, 12), abis=["cp312"], platforms=plats)) + list(compatible_tags((3, 12), interpreter="cp312", platforms=plats))
        order = [str(t) for t in ts]
        sysp, system, machine = NAMES[p]
        env = dict(os_name="posix", sys_platform=sysp, platform_system=system, platform_machine=machine, implementation_name="cpython",
                   platform_python_implementation="CPython", implementation_version="3.12.16", python_full_version="3.12.16",
                   python_version="3.12", platform_release="", platform_version="", extras={"gpu-x"}, dependency_groups={"dev"})
        ms = {m: markers.Marker(m).evaluate(env, context="lock_file") for m in MARKERS}
        out["targets"].append(dict(platform=p, macos=mac, glibc=glibc, tags=order, markers=ms))
        rank = {t: i for i, t in enumerate(ts)}
        pys = ["cp312-cp312", "cp311-abi3", "cp38-abi3", "py3-none", "cp313-cp313", "cp312-none", "py2.py3-none"]
        pl = plats + ["any", "win_amd64", "musllinux_1_2_x86_64", "macosx_14_0_arm64", "manylinux_2_28_aarch64"]
        for _ in range(40):
            files = []
            for _ in range(rnd.randint(1, 6)):
                py, q = rnd.choice(pys), rnd.sample(pl, rnd.randint(1, 2))
                b = rnd.choice(["", "", "-1", "-2a", "-10"])
                files.append(f"demo_pkg-1.0{b}-{py}-{'.'.join(sorted(q))}.whl")
            def key(f):
                _, _, build, ft = utils.parse_wheel_filename(f)
                r = [rank[t] for t in ft if t in rank]
                return None if not r else (-min(r), build)
            scored = [(key(f), -i) for i, f in enumerate(files) if key(f) is not None]
            best = -max(scored)[1] if scored else -1
            out["choices"].append(dict(target=len(out["targets"]) - 1, files=files, best=best))
    print(json.dumps(out, indent=1, sort_keys=True))
main()

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

VARIABLES = {
    "python_version": ["3", "3.12", "3.12.0", "3.12.*", "3.13", "3.9", "3.12rc1", "3.12.post1", "3.13.dev0", "3.12+local", "3.x", ""],
    "python_full_version": ["3.12.16", "3.12.16rc1", "3.12.16.post1", "3.12.16+cpu.1", "3.12", "3.12.*", "3.12.9", "3.12.17a2", "!3"],
    "implementation_version": ["3.12.16", "3.13"],
    "sys_platform": ["linux", "darwin", "win32", "dar", "linux darwin", ""],
    "platform_machine": ["arm64", "aarch64", "x86_64", "ARM64", "arm64,aarch64"],
    "platform_system": ["Darwin", "Linux", "linux"],
    "os_name": ["posix", "nt", "1.0"],
    "implementation_name": ["cpython", "pypy", "3.12"],
}
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "~=", "===", "in", "not in"]

def comparison(rnd):
    if rnd.random() < 0.15:
        kind, names = rnd.choice([("extras", ["gpu-x", "GPU.X", "cpu", ""]), ("dependency_groups", ["dev", "Dev", "docs"])])
        return f"{rnd.choice(names)!r} {rnd.choice(['in', 'not in'])} {kind}"
    name = rnd.choice(list(VARIABLES))
    value = repr(rnd.choice(VARIABLES[name]))
    left, right = (name, value) if rnd.random() < 0.8 else (value, name)
    return f"{left} {rnd.choice(OPERATORS)} {right}"

def sound(rnd):
    while evaluate(c := comparison(rnd), environment("darwin/arm64")) is None:
        pass
    return c

def marker(rnd, depth=0):
    """A marker of up to three operands at each level, in parentheses below the first.
    None of them is an error: what another operand decides need not be evaluated."""
    parts = [marker(rnd, depth + 1) if depth < 3 and rnd.random() < 0.35 else sound(rnd) for _ in range(rnd.randint(1, 3))]
    text = parts[0]
    for p in parts[1:]:
        text += f" {rnd.choice(['and', 'or'])} {p}"
    return f"({text})" if depth else text

BROKEN = ["", "os_name", "os_name ==", "== 'posix'", "os_name = 'posix'", "os_name == posix", "os_name == 'posix", "os_name == 'posix' and",
          "and os_name == 'posix'", "(os_name == 'posix'", "os_name == 'posix')", "os_name == 'posix' xor os_name == 'nt'", "os_name not 'posix'",
          "os_name in", "'a' in extra_s", "os_name == 'posix' os_name == 'posix'", "()", "os_name === ", "os_nam == 'posix'", "extras in 'cpu'"]

def environment(p):
    sysp, system, machine = NAMES[p]
    return dict(os_name="posix", sys_platform=sysp, platform_system=system, platform_machine=machine, implementation_name="cpython",
                platform_python_implementation="CPython", implementation_version="3.12.16", python_full_version="3.12.16",
                python_version="3.12", platform_release="", platform_version="", extras={"gpu-x"}, dependency_groups={"dev"})

def evaluate(m, env):
    """true, false, or null for an error."""
    try:
        return markers.Marker(m).evaluate(env, context="lock_file")
    except Exception:
        return None

def main():
    out = {"targets": [], "choices": [], "generated": []}
    gen = random.Random(11)
    generated = BROKEN[1:] + [comparison(gen) for _ in range(250)] + [marker(gen) for _ in range(250)]
    out["generated"] = [dict(marker=m, want=[]) for m in dict.fromkeys(generated)]
    rnd = random.Random(7)
    for p, mac, glibc in TARGETS:
        plats = platforms(p, mac, glibc)
        ts = list(cpython_tags((3, 12), abis=["cp312"], platforms=plats)) + list(compatible_tags((3, 12), interpreter="cp312", platforms=plats))
        order = [str(t) for t in ts]
        env = environment(p)
        ms = {m: markers.Marker(m).evaluate(env, context="lock_file") for m in MARKERS}
        out["targets"].append(dict(platform=p, macos=mac, glibc=glibc, tags=order, markers=ms))
        for row in out["generated"]:
            row["want"].append(evaluate(row["marker"], env))
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

# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""Install one wheel by pip's own installer, whatever machine it is for.

pip install refuses wheels of another platform before it comes to this
function, which is all that it does with one that it takes.

    pip_install.py NAME WHEEL ROOT

installs below ROOT as a CPython 3.12 there would have it, and prints pip's
version.
"""

import os
import sys

import pip
from pip._internal.models.scheme import Scheme
from pip._internal.operations.install.wheel import install_wheel

name, wheel, root = sys.argv[1:]
site = os.path.join(root, "lib", "python3.12", "site-packages")
os.umask(0o022)
install_wheel(
    name,
    wheel,
    Scheme(
        platlib=site,
        purelib=site,
        headers=os.path.join(root, "include", "python3.12", name),
        scripts=os.path.join(root, "bin"),
        data=root,
    ),
    name,
    pycompile=False,
    warn_script_location=False,
)
print(pip.__version__)

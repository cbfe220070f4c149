# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""Open the weights of models with safetensors and run them with mlx_lm; print
what came, and what mlx_lm finds in the model, as JSON.

usage: load.py DIR...
"""

import json
import pathlib
import sys

import mlx_lm
import mlx_lm.utils
from safetensors import safe_open

out = []
for name in sys.argv[1:]:
    tensors = 0
    for path in sorted(pathlib.Path(name).glob("*.safetensors")):
        with safe_open(path, framework="numpy") as weights:
            tensors += sum(weights.get_tensor(key).size > 0 for key in weights.keys())
    model, tokenizer = mlx_lm.load(name)
    packed = {(m.bits, m.group_size) for _, m in model.named_modules() if hasattr(m, "bits")}
    assert len(packed) == 1, packed
    bits, group = packed.pop()
    out.append({
        "tensors": tensors,
        "text": mlx_lm.generate(model, tokenizer, prompt="hello", max_tokens=8),
        "facts": {
            "parameters": str(mlx_lm.utils.get_total_parameters(model)),
            "context": str(model.args.max_position_embeddings),
            "bits": str(bits),
            "group-size": str(group),
        },
    })
json.dump(out, sys.stdout)

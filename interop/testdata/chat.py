# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""Chat through OpenAI's client, whole and streamed; print what came as JSON.

usage: chat.py BASE_URL MODEL PROMPT MAX_TOKENS
"""

import json
import sys

import openai

base, model, prompt, max_tokens = sys.argv[1:]
client = openai.OpenAI(base_url=base, api_key="any", max_retries=0)
ask = {
    "model": model,
    "messages": [{"role": "user", "content": prompt}],
    "max_tokens": int(max_tokens),
    "temperature": 0,
}

whole = client.chat.completions.create(**ask)
chunks, streamed, stream_tokens = 0, "", 0
for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
    chunks += 1
    for choice in chunk.choices:
        streamed += choice.delta.content or ""
    if chunk.usage:
        stream_tokens = chunk.usage.completion_tokens

wrong_status = 0
try:
    client.chat.completions.create(**ask | {"model": "ai/absent"})
except openai.APIStatusError as e:
    wrong_status = e.status_code

json.dump(
    {
        "models": [m.id for m in client.models.list()],
        "text": whole.choices[0].message.content,
        "finish": whole.choices[0].finish_reason,
        "tokens": whole.usage.completion_tokens,
        "model": whole.model,
        "streamed": streamed,
        "chunks": chunks,
        "streamTokens": stream_tokens,
        "wrongStatus": wrong_status,
    },
    sys.stdout,
)

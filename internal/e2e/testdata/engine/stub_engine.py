# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for an inference server, for tests only.

It answers /health and /v1/chat/completions with the standard library alone.
The key "stub" in the model's config.json makes it misbehave: "die" raises at
start, "refuse" raises when the model is loaded and stays alive, "silent"
listens and never answers a completion, "deaf" ignores SIGTERM, "slow" takes
two seconds to start.
"""

import argparse
import json
import pathlib
import signal
import sys
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
args = parser.parse_args()
config = json.loads((pathlib.Path(args.model) / "config.json").read_text())
mode = config.get("stub", "")
alive = True

if mode == "die":
    raise RuntimeError("stub: no memory for the cache")
if mode == "refuse":
    try:
        raise ValueError("stub: model type is not supported")
    except ValueError:
        traceback.print_exc()
    alive = False
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "slow":
    time.sleep(2)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(200 if alive else 503, b'{"status":"ok"}' if alive else b'{"status":"dead"}')

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if mode == "silent":
            time.sleep(3600)
        if request.get("model") not in (None, "default_model", args.model):
            return self.reply(404, b'{"error":"unknown model"}')
        said = request["messages"][-1]["content"] if "messages" in request else request["prompt"]
        answer = f"you said: {said}"
        base = {"id": "stub", "object": "chat.completion", "created": 0, "model": args.model}
        if not request.get("stream"):
            message = {"role": "assistant", "content": answer}
            base["choices"] = [{"index": 0, "message": message, "text": answer, "finish_reason": "stop"}]
            base["usage"] = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
            return self.reply(200, json.dumps(base).encode())
        base["object"] = "chat.completion.chunk"
        out = b": keepalive 0/1\n\n"
        for word in answer.split(" "):
            chunk = dict(base, choices=[{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}])
            out += b"data: " + json.dumps(chunk).encode() + b"\n\n"
        out += b"data: " + json.dumps(dict(base, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])).encode() + b"\n\n"
        self.reply(200, out + b"data: [DONE]\n\n", "text/event-stream")


print("stub engine: ready", file=sys.stderr, flush=True)
ThreadingHTTPServer((args.host, args.port), Handler).serve_forever()

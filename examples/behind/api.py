#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Python API behind hangar. It loads no model: the daemon holds it, and all of this program's processes share it.

    hangar serve --preload MODEL &
    hangar wait MODEL -- python3 examples/behind/api.py MODEL [PORT]

    POST /answer   {"question": "..."} -> {"answer": "...", "model": "..."}
    GET  /health   how hangar is, passed on

HANGAR_URL is the daemon's address (http://127.0.0.1:4264 when it is not set), HANGAR_KEY a key, where it wants one.
"""
import http.server
import json
import os
import sys
import urllib.error
import urllib.request

URL = os.environ.get("HANGAR_URL", "http://127.0.0.1:4264")
MODEL = sys.argv[1] if len(sys.argv) > 1 else "tiny"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
BODY_MAX = 1 << 20


def ask_hangar(path, body=None):
    """(status, document) of one request to the daemon. A refusal of the daemon's has a status and a document, too."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("HANGAR_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["HANGAR_KEY"]
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers), timeout=600) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)
    except OSError as error:
        return 502, {"error": {"message": f"hangar cannot be reached: {error}"}}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, document):
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.reply(*(ask_hangar("/health") if self.path == "/health" else (404, {"error": "no such page"})))

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/answer" or not 0 < length <= BODY_MAX:
            self.close_connection = True  # what was sent stays unread
            return self.reply(400, {"error": "POST /answer with a JSON body"})
        try:
            question = str(json.loads(self.rfile.read(length))["question"])
        except (ValueError, KeyError, TypeError):
            return self.reply(400, {"error": "\"question\" is missing"})
        status, got = ask_hangar("/v1/chat/completions", {
            "model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": 64, "temperature": 0})
        if status != 200:
            return self.reply(status, got)
        # `model` names who answered: another one, when the chain of MODEL had to stand in.
        return self.reply(200, {"answer": got["choices"][0]["message"]["content"], "model": got["model"]})

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Api)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass

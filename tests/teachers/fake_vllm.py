"""What stands in for the `vllm` command in fast tests: a program that serves the same API and misbehaves on demand.

Run as `vllm serve MODEL --port P ...`. The environment variable FAKE_VLLM holds JSON: how it misbehaves. It writes its
requests as JSON lines to the file `requests`, where one is named.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

fault = json.loads(os.environ.get("FAKE_VLLM", "{}"))
KEY = os.environ.get("VLLM_API_KEY", "")


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def first_time(what: str) -> bool:
    """Whether this is the first of all starts in which it happens."""
    if "once" not in fault:
        return True
    try:
        os.close(os.open(f"{fault['once']}.{what}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(503 if self.server.engine_dead else 200, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if "requests" in fault:
            with Path(fault["requests"]).open("a") as out:
                out.write(json.dumps({"path": self.path, "pid": os.getpid(), **body}) + "\n")
        if self.path.startswith(("/sleep", "/wake_up")):
            status = 200 if os.environ.get("VLLM_SERVER_DEV_MODE") and "--enable-sleep-mode" in sys.argv else 404
            return self.answer(status, {})
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer(401, {"error": "Unauthorized"})
        if time.monotonic() < ready_at:
            return self.answer(503, {"error": "loading"})
        if "refuse" in fault:
            return self.answer(400, {"error": {"message": fault["refuse"]}})
        if self.path.endswith("load_lora_adapter"):
            return self.adapter(body)
        if "prompt" in body:
            return self.completion(body)
        text = body["messages"][-1]["content"]
        if text.startswith("slow"):
            time.sleep(fault.get("slow", 0.3))
        if text.startswith("die") and first_time("die"):
            print("RuntimeError: the engine met its end", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith("engine") and first_time("engine"):
            self.server.engine_dead = True
            threading.Timer(fault.get("dying", 0.3), os._exit, (1,)).start()
            return self.answer(500, {"error": {"message": "EngineCore encountered an issue", "code": 500}})
        if text.startswith("abort") and first_time("abort"):
            self.choices(body, "half an ans", "abort")
            os._exit(0)
        return self.choices(body, text.upper(), "stop")

    def adapter(self, body):
        name, allowed = body["lora_name"], os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING")
        if not (allowed and "--enable-lora" in sys.argv):
            return self.answer(404, {})
        if self.path.endswith("unload_lora_adapter"):
            return self.answer(200 if self.server.adapters.pop(name, None) else 404, {})
        there = Path(body["lora_path"], "adapter_config.json").is_file()
        if there:
            self.server.adapters[name] = body["lora_path"]
        return self.answer(200 if there else 400, {"error": {"message": "No adapter found for " + name}})

    def completion(self, body):
        """Answers with the largest token of the prompt, once more for each adapter that it has."""
        if body["model"] not in (option("--served-model-name"), *self.server.adapters):
            return self.answer(404, {"error": {"message": "no model " + body["model"]}})
        if fault.get("dies_of") in body["prompt"] and first_time("prompt"):
            os.kill(os.getpid(), signal.SIGKILL)
        tokens = [max(body["prompt"])] * (1 + len(self.server.adapters)) + body["stop_token_ids"][:1]
        choice = {"text": "", "finish_reason": "stop", "token_ids": tokens, "prompt_token_ids": body["prompt"]}
        return self.answer(200, {"model": body["model"], "choices": [choice]})

    def choices(self, body, text, reason):
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
        many = [{**choice, "index": i} for i in range(body.get("n", 1))]
        self.answer(200, {"model": body["model"], "choices": many,
                          "usage": {"prompt_tokens": 3, "completion_tokens": 2}})  # fmt: skip


if sys.argv[1:] == ["--version"]:
    print("W1121 something of a library's\n" + fault.get("version", "0.32.0+cpu"))
    sys.exit(0)
if fault.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if fault.get("engine"):  # a process of its own that outlives this one, in a group of its own
    subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"],
        start_new_session=True,
    )
print("(APIServer pid=1) device_config=cpu" if fault.get("cpu") else "(APIServer pid=1) device_config=cuda", flush=True)
if "end" in fault:
    print(fault["end"], file=sys.stderr, flush=True)
    sys.exit(fault.get("code", 1))
if "port_taken" in fault and first_time("port"):
    print("OSError: [Errno 98] Address already in use", file=sys.stderr, flush=True)
    sys.exit(1)
ready_at = time.monotonic() + fault.get("loading", 0.0)
ThreadingHTTPServer.request_queue_size = 128
server = ThreadingHTTPServer(("127.0.0.1", int(option("--port"))), Handler)
server.engine_dead, server.adapters = False, {}
server.serve_forever()

"""A pretend Portcullis for tests: `Host(wasm).call("provider", "verify-token", "good")` makes a fresh instance for every
call, with these settings, this bucket and this `http`, from a URL to a status and a body (or a ConnectionError).

A record is a dict with the names of wit/. Of a result comes what is in it, the value or the error; and a Variant, with
`tag` and `payload`, where that alone would not tell which case it is."""
import time
from types import SimpleNamespace

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, Record, ResourceAny, ResourceHost, ResourceType, Variant

RESOURCES = {
    "wasi:keyvalue/store@0.2.0-draft": ["bucket"],
    "wasi:io/poll@0.2.12": ["pollable"],
    "wasi:io/error@0.2.12": ["error"],
    "wasi:io/streams@0.2.12": ["input-stream", "output-stream"],
    "wasi:http/types@0.2.12": [
        "fields", "outgoing-request", "request-options", "future-incoming-response", "incoming-response", "incoming-body"],
}
TYPES = {kind: number for number, kind in enumerate(kind for kinds in RESOURCES.values() for kind in kinds)}


class Host:
    def __init__(self, wasm, settings={}, bucket=None, http=None):
        self.engine = Engine()
        self.component = Component.from_file(self.engine, wasm)
        self.settings, self.bucket, self.http = settings, {} if bucket is None else bucket, http

    def call(self, interface, function, *args):
        self.things = []  # what the component has handles for, each with its index
        store, linker, functions = Store(self.engine), Linker(self.engine), self.functions()
        with linker.root() as root:
            for name in {*RESOURCES, *functions}:
                with root.add_instance(name) as instance:
                    for kind in RESOURCES.get(name, []):
                        instance.add_resource(kind, ResourceType.host(TYPES[kind]), lambda store, index: None)
                    for function_name, f in functions.get(name, {}).items():
                        instance.add_func(function_name, lambda store, *args, f=f: f(*(self.thing(store, arg) for arg in args)))
        linker.define_unknown_imports_as_traps(self.component)
        instance = linker.instantiate(store, self.component)
        face = self.component.get_export_index(f"portcullis:auth/{interface}@0.1.0")
        args = [SimpleNamespace(**arg) if isinstance(arg, dict) else arg for arg in args]
        result = instance.get_func(store, self.component.get_export_index(function, face))(store, *args)
        return vars(result) if isinstance(result, Record) else result

    def new(self, kind, thing=None):
        self.things.append(thing)
        return ResourceHost.own(len(self.things) - 1, TYPES[kind])

    def thing(self, store, arg):
        if not isinstance(arg, ResourceAny):
            return arg
        return self.things[arg.to_host(store).rep]  # which also gives a borrowed handle back

    def functions(self):
        new = self.new

        def put(request, key, value):
            request[key] = value
            return Variant("ok")

        def answer(request):
            try:
                response = self.http(f"{request['scheme'].tag.lower()}://{request['authority']}{request['path']}")
                return Variant("some", new("incoming-response", response))
            except ConnectionError:
                return Variant("some", Variant("connection-refused"))

        return {
            "wasi:config/store@0.2.0-rc.1": {"get": self.settings.get},
            "wasi:clocks/wall-clock@0.2.12": {"now": lambda: SimpleNamespace(seconds=int(time.time()), nanoseconds=0)},
            "wasi:logging/logging@0.1.0-draft": {"log": lambda level, context, message: print(message)},
            "wasi:keyvalue/store@0.2.0-draft": {
                "open": lambda name: new("bucket"),
                "[method]bucket.get": lambda bucket, key: self.bucket.get(key),
                "[method]bucket.set": lambda bucket, key, value: self.bucket.update({key: value})},
            "wasi:io/poll@0.2.12": {"[method]pollable.block": lambda pollable: None},
            "wasi:io/streams@0.2.12": {"[method]input-stream.blocking-read": lambda chunks, length: chunks.pop() if chunks else None},
            "wasi:http/types@0.2.12": {
                "[constructor]fields": lambda: new("fields"),
                "[constructor]outgoing-request": lambda fields: new("outgoing-request", {}),
                "[method]outgoing-request.set-scheme": lambda request, scheme: put(request, "scheme", scheme),
                "[method]outgoing-request.set-authority": lambda request, text: put(request, "authority", text),
                "[method]outgoing-request.set-path-with-query": lambda request, text: put(request, "path", text),
                "[method]future-incoming-response.subscribe": lambda request: new("pollable"),
                "[method]future-incoming-response.get": answer,
                "[method]incoming-response.status": lambda response: response[0],
                "[method]incoming-response.consume": lambda response: new("incoming-body", [response[1]]),
                "[method]incoming-body.stream": lambda chunks: new("input-stream", chunks)},
            "wasi:http/outgoing-handler@0.2.12": {"handle": lambda request, options: new("future-incoming-response", request)},
        }

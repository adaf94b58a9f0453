"""Bundles that must not be served: each is a good bundle with one lie, under a manifest that matches its files.

``HOSTILE`` maps the name of each case to a function that writes its bundle to a new folder. ``FAULTS`` maps the same
names to a pattern of the sentence that refuses it, from ``load_bundle`` or from ``LoadedBundle.warm_up``.
``write_linear``, ``write_onnx`` and ``write_ensemble`` write the good bundles.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

Write = Callable[[Path], None]
Manifest = dict[str, Any]

HOSTILE: dict[str, Write] = {}
"""Name of a case to the function that writes its bundle to a folder, which must not exist."""
FAULTS: dict[str, str] = {}
"""Name of a case to a regular expression that the message of its refusal matches."""

LABELS = ["bad", "good"]
POSITIONS = 16
"""Rows of the position embedding of the ONNX graph, and so its largest ``max_tokens``."""
INPUTS = ("input_ids", "attention_mask")
SAFETENSORS, VOCABULARY = "model.safetensors", "vocabulary.json"

TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "bad": 1, "good": 2}, "unk_token": "[UNK]"},
}


def write_linear(folder: Path) -> None:
    """Write a good linear bundle."""
    folder.mkdir(parents=True)
    save_file(_arrays(), folder / SAFETENSORS)
    (folder / VOCABULARY).write_text(json.dumps(LABELS))
    seal(folder, _manifest({"name": "linear", "ngrams": [1, 1], "sublinear": True, "norm": "l1"}))


def write_onnx(folder: Path) -> None:
    """Write a good ONNX bundle: the logits are the summed embeddings of the tokens and of their positions."""
    folder.mkdir(parents=True)
    onnx.save(_graph(), folder / "model.onnx")
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    runtime = {
        "name": "onnx",
        "precision": "fp32",
        "max_tokens": POSITIONS,
        "opset": 20,
        "producer": "hand",
        "inputs": {"input_ids": ["rows", "tokens"], "attention_mask": ["rows", "tokens"]},
        "outputs": {"logits": ["rows", 2]},
    }
    seal(folder, _manifest(runtime))


def write_ensemble(folder: Path) -> None:
    """Write a good ensemble of the linear and the ONNX bundle."""
    write_linear(folder / "members" / "0")
    write_onnx(folder / "members" / "1")
    runtime = {"name": "ensemble", "members": ["members/0", "members/1"], "weights": [0.5, 0.5], "max_tokens": 16}
    seal(folder, _manifest(runtime))


def seal(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest`` with the digests of all files in ``folder``."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / "bundle.json"
    }
    (folder / "bundle.json").write_text(json.dumps({**manifest, "files": files}))


def _manifest(runtime: dict[str, Any]) -> Manifest:
    return {
        "name": "hostile",
        "family": "linear" if runtime["name"] == "linear" else "transformer",
        "runtime": runtime,
        "labels": LABELS,
        "normalizer": {},
        "recipe": {},
        "metrics": {},
        "dataset": "0" * 64,
        "versions": {},
    }


def _arrays() -> dict[str, np.ndarray]:
    return {"idf": np.ones(2), "weights": np.array([[2.0, 0.0], [0.0, 2.0]]), "bias": np.zeros(2)}


def _graph() -> onnx.ModelProto:
    tokens = np.array([[0, 0], [2, 0], [0, 2]], dtype=np.float32)
    constants = {
        "tokens": tokens,
        "positions": np.zeros((POSITIONS, 2), dtype=np.float32),
        "zero": np.array(0, dtype=np.int64),
        "one": np.array(1, dtype=np.int64),
        "axis": np.array([1], dtype=np.int64),
        "last": np.array([2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["tokens", "input_ids"], ["embedded"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["embedded", "wide_mask"], ["masked"]),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"], axis=0),
        helper.make_node("Range", ["zero", "length", "one"], ["indices"]),
        helper.make_node("Gather", ["positions", "indices"], ["placed"], axis=0),
        helper.make_node("Add", ["masked", "placed"], ["added"]),
        helper.make_node("ReduceSum", ["added", "axis"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in INPUTS],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _add(name: str, fault: str, write: Write, *mutations: Callable[[Path, Manifest], None]) -> None:
    """Register a case: the bundle that ``write`` makes, changed by ``mutations``, then sealed again."""

    def write_hostile(folder: Path) -> None:
        write(folder)
        manifest = json.loads((folder / "bundle.json").read_text())
        for mutate in mutations:
            mutate(folder, manifest)
        seal(folder, manifest)

    HOSTILE[name], FAULTS[name] = write_hostile, fault


def _add_raw_manifest(name: str, fault: str, content: Callable[[bytes], bytes]) -> None:
    """Register a case whose manifest is ``content`` of the good manifest, byte for byte."""

    def write_hostile(folder: Path) -> None:
        write_linear(folder)
        path = folder / "bundle.json"
        path.write_bytes(content(path.read_bytes()))

    HOSTILE[name], FAULTS[name] = write_hostile, fault


def _change(**values: Any) -> Callable[[Path, Manifest], None]:
    """Return a mutation that sets keys of the manifest."""
    return lambda folder, manifest: manifest.update(values)


def _runtime(**values: Any) -> Callable[[Path, Manifest], None]:
    """Return a mutation that sets keys of the manifest's runtime."""
    return lambda folder, manifest: manifest["runtime"].update(values)


def _file(name: str, content: bytes | str) -> Callable[[Path, Manifest], None]:
    """Return a mutation that writes a file."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder, manifest: (folder / name).write_bytes(data) and None


def _without(name: str) -> Callable[[Path, Manifest], None]:
    """Return a mutation that deletes a file."""
    return lambda folder, manifest: (folder / name).unlink()


def _linear_arrays(**changes: np.ndarray | None) -> Callable[[Path, Manifest], None]:
    """Return a mutation that replaces arrays of a linear bundle; None leaves one out."""

    def mutate(folder: Path, manifest: Manifest) -> None:
        arrays = {**_arrays(), **changes}
        save_file({name: array for name, array in arrays.items() if array is not None}, folder / SAFETENSORS)

    return mutate


def _graph_edit(edit: Callable[[onnx.GraphProto], None]) -> Callable[[Path, Manifest], None]:
    """Return a mutation that edits the graph of an ONNX bundle."""

    def mutate(folder: Path, manifest: Manifest) -> None:
        model = _graph()
        edit(model.graph)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return mutate


def _initializer(name: str, array: np.ndarray) -> Callable[[onnx.GraphProto], None]:
    """Return an edit of a graph that replaces a constant."""

    def edit(graph: onnx.GraphProto) -> None:
        (index,) = (index for index, tensor in enumerate(graph.initializer) if tensor.name == name)
        graph.initializer[index].CopyFrom(numpy_helper.from_array(array, name))

    return edit


def _external(location: str) -> Callable[[onnx.GraphProto], None]:
    """Return an edit of a graph that moves the token embedding to an external file of 24 bytes."""

    def edit(graph: onnx.GraphProto) -> None:
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": "24"}.items():
            tensor.external_data.add(key=key, value=value)

    return edit


def _outside(content: bytes) -> Callable[[Path, Manifest], None]:
    """Return a mutation that puts a file next to the bundle's folder, as ``evil``."""
    return lambda folder, manifest: (folder.parent / "evil").write_bytes(content) and None


def _tokenizer(**changes: Any) -> Callable[[Path, Manifest], None]:
    """Return a mutation that sets keys of ``tokenizer.json``."""
    return _file("tokenizer.json", json.dumps({**TOKENIZER, **changes}))


def _model(**changes: Any) -> dict[str, Any]:
    return {**TOKENIZER["model"], **changes}


def _output_type(kind: int) -> Callable[[onnx.GraphProto], None]:
    def edit(graph: onnx.GraphProto) -> None:
        graph.node[-1].output[0] = "float_logits"
        graph.node.append(helper.make_node("Cast", ["float_logits"], ["logits"], to=kind))
        graph.output[0].type.tensor_type.elem_type = kind

    return edit


def _second_output(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Identity", ["logits"], ["again"]))
    graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, ["rows", 2]))


def _rename_input(graph: onnx.GraphProto) -> None:
    graph.input[0].name = "ids"
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = "ids" if name == "input_ids" else name


def _third_input(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 3]))


def _shape_bomb() -> bytes:
    """Return a safetensors file that announces 8 EiB of floats and holds none."""
    header = json.dumps({"idf": {"dtype": "F64", "shape": [2**60, 1], "data_offsets": [0, 2**63]}}).encode()
    return struct.pack("<Q", len(header)) + header


_NAN = float("nan")
_TOKEN_ROWS = np.array([[0, 0], [2, 0], [0, 2]], dtype=np.float32)
_DEEP = "[" * 200_000

# The manifest.
_add_raw_manifest("manifest-empty", "is not a bundle manifest", lambda good: b"")
_add_raw_manifest("manifest-not-json", "is not a bundle manifest", lambda good: good[:-2])
_add_raw_manifest("manifest-not-utf-8", "is not a bundle manifest", lambda good: good.replace(b"hostile", b"\xff\xfe"))
_add_raw_manifest("manifest-deep", "is not a bundle manifest", lambda good: _DEEP.encode())
_add_raw_manifest(
    "manifest-deep-recipe",
    "is not a bundle manifest",
    lambda good: good.replace(b'"recipe": {}', b'"recipe": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
)
_add_raw_manifest("manifest-huge", "larger than the maximum", lambda good: good + b" " * 17_000_000)
_add_raw_manifest("file-changed", "has been changed", lambda good: good.replace(b'"size": ', b'"size": 1'))
_add("label-single", "is not a bundle manifest: labels", write_linear, _change(labels=["bad"]))
_add("labels-equal", "is not a bundle manifest: .*labels", write_linear, _change(labels=["bad", "bad"]))
_add("labels-three-linear", "3 labels, .* 2", write_linear, _change(labels=["bad", "good", "new"]))
_add("labels-three-onnx", "3 labels, .* 2", write_onnx, _change(labels=["bad", "good", "new"]))
_add("temperature-tiny", "temperature", write_linear, _change(calibration={"temperature": 1e-300}))
_add("temperature-zero", "temperature", write_linear, _change(calibration={"temperature": 0}))
_add("temperature-nan", "temperature", write_linear, _change(calibration={"temperature": _NAN}))
_add("temperature-infinite", "temperature", write_onnx, _change(calibration={"temperature": float("inf")}))
_add("threshold-nan", "threshold", write_linear, _change(calibration={"threshold": _NAN}))
_add(
    "threshold-three-labels",
    "threshold",
    write_linear,
    _change(labels=["bad", "good", "new"], calibration={"threshold": 0.5}),
    _linear_arrays(weights=np.ones((3, 2)), bias=np.zeros(3)),
)
_add("runtime-unknown", "runtime", write_linear, _change(runtime={"name": "pickle"}))
_add(
    "runtime-transformers",
    "cannot be served",
    write_linear,
    _change(runtime={"name": "transformers", "max_tokens": 16}),
)
_add("normalizer-unknown-form", "normalizer", write_linear, _change(normalizer={"unicode": "NFX"}))

# Linear bundles.
_add("ngrams-reversed", "ngrams", write_linear, _runtime(ngrams=[2, 1]))
_add("ngrams-zero", "ngrams", write_linear, _runtime(ngrams=[0, 1]))
_add("ngrams-huge", "ngrams", write_linear, _runtime(ngrams=[1, 1_000_000]))
_add("no-arrays", SAFETENSORS, write_linear, _without(SAFETENSORS))
_add("no-idf", "idf", write_linear, _linear_arrays(idf=None))
_add("extra-array", "more", write_linear, _linear_arrays(more=np.ones(2)))
_add("idf-short", "idf", write_linear, _linear_arrays(idf=np.ones(1)))
_add("idf-nan", "idf.* finite", write_linear, _linear_arrays(idf=np.array([1, _NAN])))
_add("weights-nan", "weights.* finite", write_linear, _linear_arrays(weights=np.full((2, 2), _NAN)))
_add("weights-flat", "weights", write_linear, _linear_arrays(weights=np.ones(4)))
_add("weights-integer", "weights", write_linear, _linear_arrays(weights=np.ones((2, 2), dtype=np.int64)))
_add("bias-infinite", "bias.* finite", write_linear, _linear_arrays(bias=np.array([0, np.inf])))
_add("bias-long", "bias", write_linear, _linear_arrays(bias=np.zeros(3)))
_add("safetensors-garbage", SAFETENSORS, write_linear, _file(SAFETENSORS, b"garbage"))
_add("safetensors-header-bomb", SAFETENSORS, write_linear, _file(SAFETENSORS, struct.pack("<Q", 2**62) + b"{"))
_add("safetensors-shape-bomb", SAFETENSORS, write_linear, _file(SAFETENSORS, _shape_bomb()))
_add("no-vocabulary", VOCABULARY, write_linear, _without(VOCABULARY))
_add("vocabulary-deep", VOCABULARY, write_linear, _file(VOCABULARY, _DEEP))
_add("vocabulary-object", VOCABULARY, write_linear, _file(VOCABULARY, '{"bad": 0, "good": 1}'))
_add("vocabulary-numbers", VOCABULARY, write_linear, _file(VOCABULARY, "[1, 2]"))
_add("vocabulary-lists", VOCABULARY, write_linear, _file(VOCABULARY, "[[], []]"))
_add("vocabulary-short", VOCABULARY, write_linear, _file(VOCABULARY, '["bad"]'))
_add("vocabulary-equal-terms", VOCABULARY, write_linear, _file(VOCABULARY, '["bad", "bad"]'))
_add("vocabulary-not-utf-8", VOCABULARY, write_linear, _file(VOCABULARY, b'["\xff", "good"]'))

# Graphs.
_add(
    "graph-outside",
    r"lacks \.\./evil",
    write_onnx,
    _runtime(graph="../evil"),
    lambda folder, manifest: _outside((folder / "model.onnx").read_bytes())(folder, manifest),
)
_add(
    "graph-absolute",
    r"lacks /.*model\.onnx",
    write_onnx,
    lambda folder, manifest: manifest["runtime"].update(graph=str(folder.absolute() / "model.onnx")),
)
_add("graph-missing", "lacks other.onnx", write_onnx, _runtime(graph="other.onnx"))
_add("graph-is-the-tokenizer", "cannot be opened", write_onnx, _runtime(graph="tokenizer.json"))
_add("graph-garbage", "cannot be opened", write_onnx, _file("model.onnx", b"garbage"))
_add("graph-empty", "cannot be opened", write_onnx, _file("model.onnx", b""))
_add(
    "external-data-outside",
    "cannot be opened",
    write_onnx,
    _outside(_TOKEN_ROWS.tobytes()),
    _graph_edit(_external("../evil")),
)
_add(
    "external-data-absolute",
    "cannot be opened",
    write_onnx,
    _file("rows", _TOKEN_ROWS.tobytes()),
    lambda folder, manifest: _graph_edit(_external(str(folder.absolute() / "rows")))(folder, manifest),
)
_add("external-data-device", "cannot be opened", write_onnx, _graph_edit(_external("/dev/zero")))
_add("external-data-missing", "cannot be opened", write_onnx, _graph_edit(_external("rows")))
_add("external-data-short", "cannot be opened", write_onnx, _file("rows", b"12"), _graph_edit(_external("rows")))
_add("output-integer", "output", write_onnx, _graph_edit(_output_type(TensorProto.INT64)))
_add("output-twice", "output", write_onnx, _graph_edit(_second_output))
_add("input-renamed", "input", write_onnx, _graph_edit(_rename_input))
_add("input-added", "input", write_onnx, _graph_edit(_third_input))
_add(
    "input-only-in-manifest",
    "input",
    write_onnx,
    _runtime(inputs={name: ["rows", "tokens"] for name in (*INPUTS, "token_type_ids")}),
)
_add("logits-nan", "finite", write_onnx, _graph_edit(_initializer("tokens", np.full((3, 2), np.nan, np.float32))))
_add("logits-infinite", "finite", write_onnx, _graph_edit(_initializer("tokens", np.full((3, 2), np.inf, np.float32))))
_add("max-tokens-beyond-positions", "max_tokens is 17", write_onnx, _runtime(max_tokens=POSITIONS + 1))
_add("max-tokens-huge", "max_tokens", write_onnx, _runtime(max_tokens=10**12))
_add("max-tokens-zero", "max_tokens", write_onnx, _runtime(max_tokens=0))

# Ensembles.
_add("member-missing", "lacks members/2", write_ensemble, _runtime(members=["members/0", "members/2"]))
_add("member-outside", r"lacks \.\./members/0", write_ensemble, _runtime(members=["members/1", "../members/0"]))
_add("member-is-the-ensemble", r"lacks \.,", write_ensemble, _runtime(members=["members/1", "."]))
_add("member-weight-nan", "runtime", write_ensemble, _runtime(weights=[_NAN, 1]))
_add("member-weight-negative", "runtime", write_ensemble, _runtime(weights=[2, -1]))
_add("member-labels-differ", "labels", write_ensemble, _change(labels=["good", "bad"]))
_add("member-changed", "vocabulary.json has been changed", write_ensemble, _file("members/0/vocabulary.json", "[]"))


def _nest(levels: int) -> Callable[[Path, Manifest], None]:
    """Return a mutation that makes the first member an ensemble of an ensemble, and so on."""

    def mutate(folder: Path, manifest: Manifest) -> None:
        inner = folder / "members" / "0"
        write_ensemble(folder / "members" / "2")
        manifest["runtime"]["members"] = ["members/1", "members/2"]
        if levels:
            inner = folder / "members" / "2"
            nested = json.loads((inner / "bundle.json").read_text())
            _nest(levels - 1)(inner, nested)
            seal(inner, nested)

    return mutate


_add("ensemble-of-ensembles", "is itself an ensemble", write_ensemble, _nest(3))

# Tokenizers.
_add("no-tokenizer", "lacks tokenizer.json", write_onnx, _without("tokenizer.json"))
_add("tokenizer-garbage", "tokenizer.json", write_onnx, _file("tokenizer.json", "{"))
_add("tokenizer-deep", "tokenizer.json", write_onnx, _file("tokenizer.json", _DEEP))
_add("tokenizer-of-unknown-type", "tokenizer.json", write_onnx, _tokenizer(model={"type": "LSTM", "vocab": {}}))
_add("tokenizer-negative-id", "tokenizer.json", write_onnx, _tokenizer(model=_model(vocab={"[UNK]": 0, "bad": -1})))
_add(
    "tokenizer-equal-ids",
    "tokenizer.json .* id 1",
    write_onnx,
    _tokenizer(model=_model(vocab={"[UNK]": 0, "bad": 1, "good": 1})),
)
_add(
    "tokenizer-id-beyond-the-embedding",
    "id 999",
    write_onnx,
    _tokenizer(model=_model(vocab={"[UNK]": 0, "bad": 1, "good": 2, "@user": 999})),
)
_add(
    "tokenizer-panics-when-loaded",
    "tokenizer.json",
    write_onnx,
    _tokenizer(model={"type": "BPE", "unk_token": None, "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}),
)
_add(
    "tokenizer-panics-on-any-text",
    "chunk size must be non-zero",
    write_onnx,
    _tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
)
_add("tokenizer-without-unknown", r"\[UNK\]", write_onnx, _tokenizer(model=_model(unk_token="<none>")))
_add(
    "tokenizer-with-a-slow-pattern",
    "tokenizer.json fails on a run of 'a'",
    write_onnx,
    _tokenizer(normalizer={"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "a"}),
)
_add(
    "tokenizer-that-expands-text",
    "can lengthen a text",
    write_onnx,
    _tokenizer(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}] * 8,
        }
    ),
)
_add(
    "tokenizer-with-long-words",
    "max_input_chars_per_word",
    write_onnx,
    _tokenizer(
        model={
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 10**9,
            "vocab": {"[UNK]": 0, "bad": 1, "good": 2},
        }
    ),
)
_add(
    "tokenizer-with-a-huge-template",
    "adds 40 special tokens",
    write_onnx,
    _tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [
                *([{"SpecialToken": {"id": "[UNK]", "type_id": 0}}] * 40),
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[UNK]": {"id": "[UNK]", "ids": [0], "tokens": ["[UNK]"]}},
        }
    ),
)

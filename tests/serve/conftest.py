"""A tiny model that has learned four conversations by heart, and a real server around it."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import uvicorn

from athanor.core.artifact import write_json
from athanor.model import convert
from athanor.model.attention import segments
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.serve.api import checked, create_app
from athanor.serve.config import Serve
from athanor.serve.loaded import LoadedModel, load_model
from athanor.tokenizer.chat_template import encode_conversation
from athanor.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from athanor.tokenizer.vocabulary import trained_vocabulary

QUESTION, ANSWER = "What does len do?", "len(s) returns the number of items of a container: naïve, but 𝄞."
MARKUP_QUESTION, MARKUP = "Show markup.", "<script>document.title='owned'</script> & <b>bold</b>"
COUNT_QUESTION, COUNT = "Count.", ", ".join(str(number) for number in range(40))
FOLLOW_UP, FOLLOW_UP_ANSWER = "And of a dict?", "The number of its keys."
CONVERSATIONS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in ((QUESTION, ANSWER), (MARKUP_QUESTION, MARKUP), (COUNT_QUESTION, COUNT))
]
CONVERSATIONS.append(
    [*CONVERSATIONS[0], {"role": "user", "content": FOLLOW_UP}, {"role": "assistant", "content": FOLLOW_UP_ANSWER}]
)
CONTEXT_LENGTH = 320


def make_tokenizer() -> Tokenizer:
    """Bytes, two merges and the special tokens."""
    merges = np.array([[ord("t"), ord("h")], [ord("i"), ord("n")]], dtype=np.int32)
    return Tokenizer(trained_vocabulary("gpt4", merges, SPECIAL_TOKENS))


def learned_by_heart(tokenizer: Tokenizer) -> Transformer:
    """A model trained on CONVERSATIONS until it repeats them."""
    torch.manual_seed(0)
    model = Transformer(
        ModelConfig(
            vocab_size=tokenizer.vocab_size,
            context_length=CONTEXT_LENGTH,
            num_layers=2,
            d_model=64,
            d_ff=128,
            num_heads=4,
            num_kv_heads=2,
            head_width=16,
        )
    )
    encoded = [encode_conversation(tokenizer, messages) for messages in CONVERSATIONS]
    tokens = torch.tensor([token for item in encoded for token in item.tokens])
    mask = torch.tensor([kept for item in encoded for kept in [*item.loss_mask[1:], False]])
    layout = segments([len(item.tokens) for item in encoded])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(400):
        logits = model.logits(model(tokens[None], layout)[0])
        loss = F.cross_entropy(logits[mask], tokens.roll(-1)[mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.003:
            break
    assert loss.item() < 0.01, "the test's model did not learn its conversations"
    return model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "dpo-1234"
    tokenizer = make_tokenizer()
    convert.save(learned_by_heart(tokenizer), folder)
    tokenizer.save(folder)
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": tokenizer.bos_id, "eos_token_id": [tokenizer.end_of_turn_id, tokenizer.eos_id]},
    )
    return folder


@pytest.fixture(scope="session")
def loaded(model_folder) -> LoadedModel:
    return load_model(model_folder, "tiny")


@pytest.fixture(scope="session")
def serving():
    """A context manager: a server for a loaded model and options, at the address that it gives."""
    return run_server


@contextlib.contextmanager
def run_server(loaded: LoadedModel, options: Serve) -> Iterator[str]:
    """The address of a real server in a thread."""
    app = create_app(loaded, checked(options))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    for _ in range(200):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/health").status_code == 200:
                break
        time.sleep(0.02)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def address(loaded) -> Iterator[str]:
    with run_server(loaded, Serve(name="tiny", max_waiting=16)) as running:
        yield running


@pytest.fixture
def slow(loaded) -> LoadedModel:
    """The same model, taking its time over each token."""
    model = load_copy(loaded.model)
    forward = model.forward

    def slowly(*args):
        time.sleep(0.06)
        return forward(*args)

    model.forward = slowly
    return replace(loaded, model=model)


def load_copy(model: Transformer) -> Transformer:
    copy = Transformer(model.config)
    copy.load_state_dict(model.state_dict())
    return copy

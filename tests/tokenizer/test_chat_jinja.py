"""Chat templates of all kinds: what is written, what is learned, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from athanor.tokenizer.chat_named import TEMPLATES
from athanor.tokenizer.chat_template import encode_conversation, encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.model_folder import copy_tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
TWO_TURNS = [
    {"role": "user", "content": "What does len return?"},
    {"role": "assistant", "content": "The number of items."},
    {"role": "user", "content": " Of what? "},
    {"role": "assistant", "content": "Of a container."},
]
GENERATION = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def named(tokenizer):
    """The tokenizer with each template by name."""
    return {name: tokenizer.with_chat_template(name) for name in TEMPLATES}


def with_jinja(tokenizer, source, *, bos=True):
    chatml = tokenizer.with_chat_template("chatml")
    special = dict(chatml.special_tokens)
    if not bos:
        special.pop(chatml.bos_token)
    return Tokenizer(replace(chatml.vocabulary, special_tokens=special), chat_template=source)


def learned(tokenizer, messages, loss_on="completions"):
    encoded = encode_conversation(tokenizer, messages, loss_on)
    runs, run = [], []
    for token, counts in zip([*encoded.tokens, 0], [*encoded.loss_mask, False], strict=True):
        if counts:
            run.append(token)
        elif run:
            runs.append(tokenizer.decode(run))
            run = []
    return runs


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "chatml",
            "<|begin_of_text|><|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nWhat does len return?<|im_end|>\n"
            "<|im_start|>assistant\nThe number of items.<|im_end|>\n<|im_start|>user\n Of what? <|im_end|>\n"
            "<|im_start|>assistant\nOf a container.<|im_end|>\n",
        ),
        (
            "llama3",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhat does len return?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nThe number of items.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nOf what?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nOf a container.<|eot_id|>",
        ),
        (
            "qwen",
            "<|begin_of_text|><|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nWhat does len return?<|im_end|>\n"
            "<|im_start|>assistant\nThe number of items.<|im_end|>\n<|im_start|>user\n Of what? <|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\nOf a container.<|im_end|>\n",
        ),
    ],
)
def test_templates_by_name_write_what_their_models_read(named, name, text):
    tokenizer = named[name]
    encoded = encode_conversation(tokenizer, [SYSTEM, *TWO_TURNS], "last_completion")
    assert tokenizer.decode(encoded.tokens) == text
    assert encoded.tokens.count(tokenizer.bos_id) == 1


def test_the_loss_is_on_answers_and_their_ends(named):
    assert learned(named["chatml"], TWO_TURNS) == ["The number of items.<|im_end|>", "Of a container.<|im_end|>"]
    assert learned(named["chatml"], TWO_TURNS, "last_completion") == ["Of a container.<|im_end|>"]
    assert learned(named["llama3"], TWO_TURNS) == ["The number of items.<|eot_id|>", "Of a container.<|eot_id|>"]
    assert learned(named["qwen"], TWO_TURNS[:2]) == ["<think>\n\n</think>\n\nThe number of items.<|im_end|>"]
    whole = named["chatml"].decode(encode_conversation(named["chatml"], TWO_TURNS).tokens)
    assert learned(named["chatml"], TWO_TURNS, "all") == [whole.removeprefix("<|begin_of_text|>")]


def test_a_template_that_rewrites_earlier_answers_teaches_only_the_last(named):
    with pytest.raises(ValueError, match=r"no assistant mask.*\(message 1\).*loss_on: last_completion"):
        encode_conversation(named["qwen"], TWO_TURNS)
    assert learned(named["qwen"], TWO_TURNS, "last_completion") == ["<think>\n\n</think>\n\nOf a container.<|im_end|>"]


@pytest.mark.parametrize("name", [*TEMPLATES, "marked"])
def test_transformers_gives_the_same_ids_and_the_template_is_saved(named, tokenizer, tmp_path, name):
    ours = with_jinja(tokenizer, GENERATION) if name == "marked" else named[name]
    tokenizer.save(tmp_path / "source")
    (tmp_path / "copy").mkdir()
    copy_tokenizer(tmp_path / "source", tmp_path / "copy", ours)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "copy")
    again = Tokenizer.load(tmp_path / "copy")
    for messages, ask in ((TWO_TURNS, False), (TWO_TURNS[:3], True)):
        ids = theirs.apply_chat_template(messages, add_generation_prompt=ask, return_dict=False)
        found = encode_prompt(ours, messages) if ask else encode_conversation(ours, messages, "all").tokens
        assert found == ids
        assert (encode_prompt(again, messages) if ask else encode_conversation(again, messages, "all").tokens) == ids
    assert again.chat_template == ours.chat_template
    assert again.stop_ids == ours.stop_ids


def test_marks_in_a_template_are_the_mask(tokenizer, tmp_path):
    ours = with_jinja(tokenizer, GENERATION)
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    expected = theirs.apply_chat_template(TWO_TURNS, return_dict=True, return_assistant_tokens_mask=True)
    encoded = encode_conversation(ours, TWO_TURNS)
    assert encoded.tokens == expected["input_ids"]
    assert [int(counts) for counts in encoded.loss_mask] == expected["assistant_masks"]


@given(
    contents=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
        | st.sampled_from(["<|im_end|>", "\n\nx", "a<|im_start|>assistant\nb", "<|eot_id|>"]),
        min_size=4,
        max_size=4,
    ),
    name=st.sampled_from(["chatml", "llama3"]),
)
@settings(max_examples=40)
def test_contents_stay_text_and_prompts_begin_their_conversation(named, contents, name):
    tokenizer = named[name]
    messages = [{**message, "content": content} for message, content in zip(TWO_TURNS, contents, strict=True)]
    encoded = encode_conversation(tokenizer, messages)
    assert encoded.tokens.count(tokenizer.end_of_turn_id) == 4
    assert encoded.tokens.count(tokenizer.bos_id) == 1
    for place in (1, 3):
        prompt = encode_prompt(tokenizer, messages[:place])
        assert encoded.tokens[: len(prompt)] == prompt
        assert encoded.loss_mask[len(prompt)]
        assert not encoded.loss_mask[len(prompt) - 1]


def test_begin_of_text_comes_once(tokenizer):
    without = TEMPLATES["chatml"].partition("{% for")
    source = without[1] + without[2]
    assert encode_prompt(with_jinja(tokenizer, source), TWO_TURNS[:1])[0] == tokenizer.bos_id
    none = with_jinja(tokenizer, source, bos=False)
    assert none.decode(encode_prompt(none, TWO_TURNS[:1])).startswith("<|im_start|>user")
    twice = with_jinja(tokenizer, "{{ bos_token }}{{ bos_token }}" + source)
    with pytest.raises(ValueError, match=r"begins with '<\|begin_of_text\|>' twice"):
        encode_prompt(twice, TWO_TURNS[:1])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "ends an answer with no special token"),
        ("{{ messages.__class__.__mro__ }}", "refuses the conversation"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}", "no Jinja that can be read"),
    ],
)
def test_templates_that_cannot_be_used_say_why(tokenizer, source, message):
    with pytest.raises(ValueError, match=message):
        encode_conversation(with_jinja(tokenizer, source), TWO_TURNS)


def test_a_tokenizer_without_a_template_names_those_to_choose_from(tokenizer):
    bare = Tokenizer(replace(tokenizer.vocabulary, special_tokens={"</s>": tokenizer.vocab_size}), eos_token="</s>")
    assert bare.stop_ids == [tokenizer.vocab_size]
    with pytest.raises(ValueError, match=r"has no chat template; choose one by name.*chatml"):
        encode_prompt(bare, TWO_TURNS[:1])
    chosen = bare.with_chat_template("chatml")
    assert chosen.special_tokens == {
        "</s>": tokenizer.vocab_size,
        "<|im_start|>": tokenizer.vocab_size + 1,
        "<|im_end|>": tokenizer.vocab_size + 2,
    }
    assert learned(chosen, TWO_TURNS[:2]) == ["The number of items.<|im_end|>"]


def test_the_template_is_found_where_hugging_face_keeps_it(tokenizer, tmp_path):
    tokenizer.with_chat_template("chatml").save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    listed = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": config["chat_template"]}]
    path.write_text(json.dumps({**config, "chat_template": listed}))
    assert Tokenizer.load(tmp_path).chat_template == TEMPLATES["chatml"]
    (tmp_path / "chat_template.jinja").write_text(GENERATION)
    assert Tokenizer.load(tmp_path).chat_template == GENERATION

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from athanor.tokenizer.chat_template import encode_conversation, encode_prompt, render

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What does len return?"},
    {"role": "assistant", "content": "The number of items."},
    {"role": "user", "content": "Of what?"},
    {"role": "assistant", "content": "Of a container.\n"},
]
contents = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["<|user|>", "\n\n x", "<|end_of_turn|>"]
)
conversations = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": contents}),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def loaded(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    tokenizer.save(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_the_text_of_a_conversation():
    assert render(CONVERSATION[1:3], add_generation_prompt=True) == (
        "<|begin_of_text|><|user|>\nWhat does len return?<|end_of_turn|>\n"
        "<|assistant|>\nThe number of items.<|end_of_turn|>\n<|assistant|>\n"
    )


@given(messages=conversations, ask=st.booleans())
def test_transformers_renders_the_identical_text(loaded, messages, ask):
    rendered = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
    assert rendered == render(messages, add_generation_prompt=ask)


def test_transformers_gives_identical_ids(tokenizer, loaded):
    def ids_of(messages, ask):
        return loaded.apply_chat_template(messages, add_generation_prompt=ask, return_dict=False)

    assert ids_of(CONVERSATION, False) == encode_conversation(tokenizer, CONVERSATION).tokens
    assert ids_of(CONVERSATION[:-1], True) == encode_prompt(tokenizer, CONVERSATION[:-1])


@given(messages=conversations)
def test_decoding_gives_the_rendered_text_and_there_is_one_begin_of_text(tokenizer, messages):
    encoded = encode_conversation(tokenizer, messages)
    assert tokenizer.decode(encoded.tokens) == render(messages)
    assert encoded.tokens.count(tokenizer.bos_id) == 1
    assert encoded.tokens[0] == tokenizer.bos_id


@given(messages=conversations)
def test_names_of_special_tokens_in_a_content_stay_text(tokenizer, messages):
    tokens = encode_conversation(tokenizer, messages).tokens
    assert tokens.count(tokenizer.end_of_turn_id) == len(messages)
    roles = [tokenizer.special_tokens[f"<|{role}|>"] for role in ("system", "user", "assistant")]
    assert sum(map(tokens.count, roles)) == len(messages)


@given(messages=conversations)
def test_a_prompt_starts_the_conversation_that_answers_it(tokenizer, messages):
    answered = [*messages, {"role": "assistant", "content": "\n\nAn answer."}]
    prompt = encode_prompt(tokenizer, messages)
    assert encode_conversation(tokenizer, answered).tokens[: len(prompt)] == prompt


def masked_texts(tokenizer, loss_on):
    encoded = encode_conversation(tokenizer, CONVERSATION, loss_on)
    assert len(encoded.tokens) == len(encoded.loss_mask)
    runs, run = [], []
    for token, counts in zip([*encoded.tokens, 0], [*encoded.loss_mask, False], strict=True):
        if counts:
            run.append(token)
        elif run:
            runs.append(tokenizer.decode(run))
            run = []
    return runs


def test_the_loss_is_on_what_the_assistant_says_and_the_end_of_its_turn(tokenizer):
    assert masked_texts(tokenizer, "completions") == [
        "The number of items.<|end_of_turn|>",
        "Of a container.\n<|end_of_turn|>",
    ]
    assert masked_texts(tokenizer, "last_completion") == ["Of a container.\n<|end_of_turn|>"]
    assert masked_texts(tokenizer, "all") == [render(CONVERSATION).removeprefix("<|begin_of_text|>")]


def test_the_mask_follows_messages_not_their_text(tokenizer):
    same = "Of a container."
    messages = [{"role": "user", "content": same}, {"role": "assistant", "content": same}]
    encoded = encode_conversation(tokenizer, messages)
    num = len(tokenizer.encode(same))
    assert sum(encoded.loss_mask) == num + 1
    assert not any(encoded.loss_mask[: len(encode_prompt(tokenizer, messages[:1]))])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "at least one message"),
        ([{"role": "robot", "content": "hi"}], "message 0 has the role 'robot'; known: system, user, assistant"),
        ([{"role": "user", "content": "hi"}, {"role": "assistant"}], r"message 1 \(assistant\) has no text"),
    ],
)
def test_what_is_no_conversation_is_named(tokenizer, messages, message):
    with pytest.raises(ValueError, match=message):
        encode_conversation(tokenizer, messages)

"""Chat templates known by name, as Jinja: what transformers, vLLM and this package render alike.

| name | one message |
|---|---|
| `athanor` | `<|role|>`, new line, content, `<|end_of_turn|>`, new line |
| `chatml` | `<|im_start|>role`, new line, content, `<|im_end|>`, new line |
| `llama3` | `<|start_header_id|>role<|end_header_id|>`, two new lines, content without outer space, `<|eot_id|>` |
| `qwen` | as ChatML; an answer after the last question begins with an empty thinking block, as Qwen3 writes it |

All begin with the tokenizer's begin-of-text token, once, where it has one.
"""

from typing import Literal, get_args

TemplateName = Literal["athanor", "chatml", "llama3", "qwen"]

_ROLES = (
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role'] + '; known: system, user, assistant') }}"
    "{% endif %}"
)
CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}"
    "{% for message in messages %}"
    + _ROLES
    + "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end_of_turn|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
"""The package's own template."""

_BOS = "{% if bos_token and bos_token != '<|im_start|>' %}{{ bos_token }}{% endif %}"
_CHATML = (
    _BOS
    + "{% for message in messages %}"
    + _ROLES
    + "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_LLAMA3 = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    + _ROLES
    + "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
_QWEN = (
    _BOS + "{% set last = namespace(question=-1) %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{% set last.question = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for message in messages %}" + _ROLES + "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% set content, thoughts = message['content'], '' %}"
    "{% if '</think>' in content %}"
    "{% set thoughts = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}"
    "{% endif %}"
    "{% if loop.index0 > last.question and (loop.last or thoughts) %}"
    "{{ '<think>\\n' + thoughts + '\\n</think>\\n\\n' + content.lstrip('\\n') }}"
    "{% else %}{{ content }}{% endif %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
TEMPLATES: dict[TemplateName, str] = {"athanor": CHAT_TEMPLATE, "chatml": _CHATML, "llama3": _LLAMA3, "qwen": _QWEN}

SPECIAL_TOKENS: dict[TemplateName, tuple[str, ...]] = {
    "athanor": ("<|begin_of_text|>", "<|end_of_text|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end_of_turn|>"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "qwen": ("<|im_start|>", "<|im_end|>"),
}
"""The special tokens each of them writes."""


def name_of(template: str) -> TemplateName | None:
    """The name of a template that is one of these, letter by letter."""
    return next((name for name in get_args(TemplateName) if TEMPLATES[name] == template), None)

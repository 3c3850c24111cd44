"""The stages in the lecture's order, and every kind of step they offer.

This table is the one place that knows all rooms. The command line's help, the README's tree and the
report's chapters are made from it; nothing in it is imported until a step of that kind is used.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from athanor.core.config import ConfigError, suggestion


@dataclass(frozen=True)
class Kind:
    """One kind of step: a config, and the function it steers."""

    name: str
    summary: str
    config: str
    """Where the config's dataclass is, as module:Class; importing it is cheap."""
    run: str
    """Where the function `run(config, inputs, out) -> metrics` is, as module:function."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs it needs."""
    optional_inputs: tuple[str, ...] = ()
    """Names of the inputs it can do without; '*' for any name."""
    positional: str = ""
    """The field of its config that bare words of its command belong to."""
    headline: tuple[str, ...] = ()
    """Metrics worth a word on the terminal; dots reach into nested ones."""
    version: int = 1
    """Raised when the same config and inputs give another result than before."""


@dataclass(frozen=True)
class Stage:
    """One stage of the work: a room of the package."""

    name: str
    package: str
    summary: str
    kinds: tuple[Kind, ...] = ()


STAGES: tuple[Stage, ...] = (
    Stage(
        "crawl",
        "athanor.crawl",
        "a site of one's own, Common Crawl, or files already there -> WARC",
        (
            Kind(
                "crawl",
                "Fetch pages, or take WARC files already there.",
                "athanor.crawl.config:Crawl",
                "athanor.crawl.run:run",
                headline=("pages", "size_bytes"),
            ),
        ),
    ),
    Stage(
        "data",
        "athanor.data",
        "pages -> clean, distinct, scored and mixed documents, a reason for every loss",
        (
            Kind(
                "data.read",
                "Turn a published corpus (C4, The Pile, Dolma, FineWeb, text, Hugging Face) into documents.",
                "athanor.data.corpora.config:Read",
                "athanor.data.corpora.step:run",
                positional="paths",
                headline=("documents", "bytes_text", "errors"),
            ),
            Kind(
                "data.extract",
                "Turn WARC records and HTML files into documents of text.",
                "athanor.data.config:Extract",
                "athanor.data.extract:run",
                optional_inputs=("pages",),
                positional="paths",
                headline=("documents", "bytes_text", "errors"),
                version=2,
            ),
            Kind(
                "data.filter",
                "Drop documents by URL, language and quality rules; mask personal data.",
                "athanor.data.config:Filter",
                "athanor.data.filter:run",
                inputs=("documents",),
                headline=("documents_in", "documents_out", "bytes_out"),
                version=4,  # reasons of addresses name the category of the list
            ),
            Kind(
                "data.dedup",
                "Remove pages fetched twice, exact and near copies, and repeated lines.",
                "athanor.data.dedup.config:Dedup",
                "athanor.data.dedup.step:run",
                inputs=("documents",),
                headline=("documents_in", "documents_out", "bytes_out"),
                version=2,
            ),
            Kind(
                "data.substrings",
                "Cut out passages that occurred before, word for word.",
                "athanor.data.dedup.config:Substrings",
                "athanor.data.dedup.substrings:run",
                inputs=("documents",),
                headline=("documents_in", "documents_out", "passages", "bytes_out"),
            ),
            Kind(
                "data.quality",
                "Score documents with a classifier trained on good and bad examples.",
                "athanor.data.quality:Quality",
                "athanor.data.quality:run",
                inputs=("documents",),
                optional_inputs=("rejected", "good", "model"),
                headline=("documents_in", "documents_out", "auc"),
                version=2,  # pages are named by their query too; the interval of the area is over hosts
            ),
            Kind(
                "data.synth",
                "Add documents rewritten by a language model, marked as synthetic.",
                "athanor.data.synth:Synth",
                "athanor.data.synth:run",
                inputs=("documents",),
                headline=("synthetic", "completion_tokens", "cost"),
            ),
            Kind(
                "data.decontaminate",
                "Take questions of benchmarks out of the corpus.",
                "athanor.data.decontaminate:Decontaminate",
                "athanor.data.decontaminate:run",
                inputs=("documents",),
                optional_inputs=("questions",),
                headline=("documents_out", "documents_hit"),
            ),
            Kind(
                "data.harmful",
                "Train a classifier of harmful text on labelled examples; score documents with it.",
                "athanor.data.harmful_training:Harmful",
                "athanor.data.harmful_training:run",
                optional_inputs=("documents", "harmful", "harmless", "model"),
                headline=("documents_out", "auc", "removed_of_harmful", "removed_of_harmless"),
            ),
            Kind(
                "data.domains",
                "Label documents with domains by address and by a trained classifier.",
                "athanor.data.domains:Domains",
                "athanor.data.domains:run",
                inputs=("documents",),
                optional_inputs=("model", "*"),
                headline=("documents", "accuracy", "macro_f1"),
            ),
            Kind(
                "data.mixture",
                "Hold out pages, choose the high-quality subset, set the weights of the sources.",
                "athanor.data.mixture:Mixture",
                "athanor.data.mixture:run",
                inputs=("documents",),
                optional_inputs=("token_shards", "mixture_weights", "*"),
                headline=("documents", "bytes"),
                version=3,
            ),
        ),
    ),
    Stage(
        "tokenizer",
        "athanor.tokenizer",
        "byte-level BPE: train, encode, show its merges; packed token shards",
        (
            Kind(
                "tokenizer.train",
                "Train a byte-level BPE tokenizer.",
                "athanor.tokenizer.config:TrainTokenizer",
                "athanor.tokenizer.train_step:run",
                inputs=("documents",),
                headline=("vocab_size", "bytes_per_token"),
            ),
            Kind(
                "tokenizer.shards",
                "Encode documents into token shards.",
                "athanor.tokenizer.config:TokenizeDocuments",
                "athanor.tokenizer.shards_step:run",
                inputs=("documents", "tokenizer"),
                headline=("tokens",),
            ),
        ),
    ),
    Stage(
        "model",
        "athanor.model",
        "Transformer shaped like Llama and Qwen3, LSTM; counts; Hugging Face folders both ways",
    ),
    Stage(
        "train",
        "athanor.train",
        "cross-entropy, AdamW and Muon, warm-up/stable/decay, continual training, parallel layouts, profile",
        (
            Kind(
                "train.pretrain",
                "Train a language model from token shards.",
                "athanor.train.config:Pretrain",
                "athanor.train.pretrain:run",
                inputs=("tokens", "tokenizer"),
                optional_inputs=("init_from", "replay", "*"),
                headline=("parameters", "bits_per_byte", "perplexity", "loss_spikes", "skipped_steps"),
                version=3,  # in the decay phase high-quality rows take turns with the others; float32 in Muon as well
            ),
        ),
    ),
    Stage(
        "inference",
        "athanor.inference",
        "batched generation with a KV cache; evaluation, post-training and serving use it",
    ),
    Stage(
        "evaluation",
        "athanor.evaluation",
        "perplexity and bits per byte beside simple baselines; held-out response loss",
        (
            Kind(
                "evaluation.language_model",
                "Compare held-out bits per byte with an n-gram model and xz.",
                "athanor.evaluation.config:LanguageModel",
                "athanor.evaluation.language_model:run",
                inputs=("model", "documents"),
                headline=("bits_per_byte",),
            ),
            Kind(
                "evaluation.response_loss",
                "Measure the loss of models on held-out responses.",
                "athanor.evaluation.config:ResponseLoss",
                "athanor.evaluation.response_loss:run",
                inputs=("conversations",),
                optional_inputs=("*",),
                headline=("response_loss",),
            ),
        ),
    ),
    Stage(
        "scaling",
        "athanor.scaling",
        "laws of loss against compute, data and parameters, with intervals and warnings",
        (
            Kind(
                "scaling.fit",
                "Fit a scaling law to a table of runs.",
                "athanor.scaling.config:Fit",
                "athanor.scaling.fit_step:run",
                optional_inputs=("sweep",),
                positional="runs",
                headline=("runs", "objective", "median_relative_error"),
                version=2,
            ),
            Kind(
                "scaling.growth",
                "Fit how known optima grow with compute.",
                "athanor.scaling.config:Growth",
                "athanor.scaling.growth_step:run",
                positional="optima",
                headline=("exponents",),
            ),
            Kind(
                "scaling.backtest",
                "Fit a law to the smaller runs of a table and ask it for the larger.",
                "athanor.scaling.config:Backtest",
                "athanor.scaling.steps:run_backtest",
                optional_inputs=("sweep",),
                positional="runs",
                headline=("median_error",),
                version=2,
            ),
            Kind(
                "scaling.compare",
                "Compare two ladders of runs: level, slope, crossing.",
                "athanor.scaling.config:Compare",
                "athanor.scaling.steps:run_compare",
                optional_inputs=("sweep",),
                positional="names",
                headline=("crossing",),
            ),
            Kind(
                "scaling.mixture",
                "Learn what mixtures are worth from proxy runs and recommend one.",
                "athanor.scaling.config:Mixture",
                "athanor.scaling.steps:run_mixture",
                headline=("rank_correlation",),
            ),
            Kind(
                "scaling.hyperparameters",
                "Carry the best learning rate or batch of small runs to larger ones.",
                "athanor.scaling.config:Hyperparameters",
                "athanor.scaling.steps:run_hyperparameters",
                optional_inputs=("sweep",),
                positional="runs",
                headline=("exponents",),
            ),
            Kind(
                "scaling.plan",
                "From a budget, and the law of a fit, to the plan of a run.",
                "athanor.scaling.planner_config:Plan",
                "athanor.scaling.plan_command:run",
                optional_inputs=("scaling_fit",),
                headline=("model.parameters", "model.tokens", "model.loss"),
            ),
        ),
    ),
    Stage(
        "posttrain",
        "athanor.posttrain",
        "chat templates, instructions, SFT and LoRA, reward model, DPO and its kin, PPO, GRPO",
        (
            Kind(
                "posttrain.instructions",
                "Make questions and answers from crawled pages.",
                "athanor.posttrain.config:Instructions",
                "athanor.posttrain.instructions:run",
                inputs=("pages", "documents"),
                headline=("rows",),
                version=2,  # masks personal data as data.filter does
            ),
            Kind(
                "posttrain.conversations",
                "Take instruction data made elsewhere, in the field's formats.",
                "athanor.posttrain.config:Conversations",
                "athanor.posttrain.conversations:run",
                headline=("rows",),
            ),
            Kind(
                "posttrain.self_instruct",
                "Make instruction data from seed tasks with a language model.",
                "athanor.posttrain.self_instruct_config:SelfInstruct",
                "athanor.posttrain.self_instruct:run",
                headline=("tasks", "cost"),
            ),
            Kind(
                "posttrain.backtranslation",
                "Find the instructions that passages of one's own documents would answer.",
                "athanor.posttrain.backtranslation_config:Backtranslation",
                "athanor.posttrain.backtranslation:run",
                inputs=("documents",),
                headline=("rows", "cost"),
            ),
            Kind(
                "posttrain.sft",
                "Fine-tune on conversations, the loss on completions only.",
                "athanor.posttrain.config:Sft",
                "athanor.posttrain.sft:run",
                inputs=("model", "conversations"),
                headline=("held_out_loss",),
                version=2,  # a batch is cut into parts of equal size, so its sum is rounded differently
            ),
            Kind(
                "posttrain.sft_study",
                "Fine-tune on more and more rows of each source: what amount and quality of data are worth.",
                "athanor.posttrain.config:SftStudy",
                "athanor.posttrain.sft_study:run",
                inputs=("model",),
                optional_inputs=("reward_model",),
                headline=("base_held_out_loss", "held_out_loss"),
                version=2,  # intervals of win rates end at 0 and 1
            ),
            Kind(
                "posttrain.preferences",
                "Pair documented answers with the model's own samples and with other answers.",
                "athanor.posttrain.config:Preferences",
                "athanor.posttrain.preferences:run",
                inputs=("model", "conversations"),
                headline=("pairs",),
            ),
            Kind(
                "posttrain.preference_data",
                "Take preference pairs made elsewhere, in the field's formats.",
                "athanor.posttrain.config:PreferenceData",
                "athanor.posttrain.preference_data:run",
                headline=("pairs",),
            ),
            Kind(
                "posttrain.reward_model",
                "Train a Bradley-Terry reward model on preferences.",
                "athanor.posttrain.config:RewardModel",
                "athanor.posttrain.reward_model:run",
                inputs=("model", "preferences"),
                headline=("accuracy", "length_rule_accuracy", "bigram_accuracy"),
                version=3,  # a batch is cut into parts of equal size, so its sum is rounded differently
            ),
            Kind(
                "posttrain.dpo",
                "Optimise the policy directly on preferences.",
                "athanor.posttrain.config:Dpo",
                "athanor.posttrain.dpo:run",
                inputs=("model", "preferences"),
                headline=("held_out_accuracy",),
                version=2,  # a batch is cut into parts of equal size, so its sum is rounded differently
            ),
            Kind(
                "posttrain.kto",
                "Optimise the policy on single answers labelled good or bad.",
                "athanor.posttrain.config:Kto",
                "athanor.posttrain.kto:run",
                inputs=("model", "preferences"),
                headline=("held_out_accuracy",),
            ),
            Kind(
                "posttrain.ppo",
                "Optimise the policy against a reward model.",
                "athanor.posttrain.config:Ppo",
                "athanor.posttrain.ppo:run",
                inputs=("model", "conversations"),
                optional_inputs=("reward_model", "gold_reward_model"),
                headline=("reward", "kl"),
                version=3,  # a batch is cut into parts of equal size, so its sum is rounded differently
            ),
            Kind(
                "posttrain.grpo",
                "Optimise against a reward model, answers to a prompt judged by each other (GRPO, RLOO).",
                "athanor.posttrain.config:Grpo",
                "athanor.posttrain.grpo:run",
                inputs=("model", "conversations"),
                optional_inputs=("reward_model", "gold_reward_model"),
                headline=("score", "kl"),
                version=3,  # a batch is cut into parts of equal size, so its sum is rounded differently
            ),
            Kind(
                "posttrain.rejection_sampling",
                "Judge several answers of a model: the best to fine-tune on, the best and the worst as pairs for DPO.",
                "athanor.posttrain.config:RejectionSampling",
                "athanor.posttrain.rejection_sampling:run",
                inputs=("model", "conversations"),
                optional_inputs=("reward_model",),
                headline=("rows", "kept_score"),
                version=2,  # writes pairs too
            ),
            Kind(
                "posttrain.compare",
                "Draw reward against KL for several policies on the same prompts.",
                "athanor.posttrain.config:Compare",
                "athanor.posttrain.compare:run",
                inputs=("sft", "reward_model", "gold_reward_model", "conversations"),
                optional_inputs=("dpo", "ppo", "*"),
                version=2,  # compare.html has the start and every model
            ),
        ),
    ),
    Stage(
        "arena",
        "athanor.arena",
        "win rates with intervals, raw and length-controlled, labelled for what the judge is",
        (
            Kind(
                "arena.win_rate",
                "Let a judge compare the models' answers.",
                "athanor.arena.config:WinRate",
                "athanor.arena.win_rate:run",
                inputs=("gold_reward_model", "conversations"),
                optional_inputs=("*",),
                headline=("judge",),
            ),
        ),
    ),
    Stage("serve", "athanor.serve", "chat in the terminal, a page and an OpenAI-compatible API"),
    Stage(
        "report",
        "athanor.report",
        "one offline HTML of the whole lineage",
        (
            Kind(
                "report",
                "Write one page that traces every number to its step.",
                "athanor.report.config:Report",
                "athanor.report.page:run",
                optional_inputs=("*",),
            ),
        ),
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for stage in STAGES for kind in stage.kinds}


def kind_named(name: str, where: str) -> Kind:
    """The kind of step called `name`; raises ConfigError with a suggestion when there is none."""
    if name not in KINDS:
        raise ConfigError(f"{where}: unknown kind {name!r}; {suggestion(name, KINDS)}")
    return KINDS[name]


def imported(path: str) -> Any:
    """What `module:name` names, imported now."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)

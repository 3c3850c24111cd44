"""Pretraining: a language model from token datasets.

In: `tokens` with the datasets train/, high_quality/ (may be absent or empty) and validation/, and `tokenizer`; to go on
with a model, its folder as `init_from` (ours or Hugging Face's) and as `replay` what it was trained on before; further
datasets that a mixture names. Out: a model folder (config.json, model.safetensors, tokenizer files), metrics.jsonl with
the loss of every step and validation measurements, samples.jsonl with what the model said on the way, data.json with
what was drawn from which dataset, and where the loss stood out in some steps spikes.jsonl, which names the documents in
their batches.

The rate warms up, stays and decays; in the decay phase part of every batch is high-quality text, where
the model learns most from it (Hu et al. 2024; Dubey et al. 2024, "annealing"). Started by `torchrun`, the
processes share each batch.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core import console
from athanor.core.artifact import WORK, read_jsonl, write_json, write_jsonl
from athanor.core.mixture import read_mixture
from athanor.model.attention import Layout, causal
from athanor.model.count import count_parameters, flops_per_token
from athanor.model.language_model import LanguageModel
from athanor.model.moe import Routing
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train import parallel
from athanor.train.activations import recompute_blocks
from athanor.train.beginning import start_model
from athanor.train.ceilings import matrix_ceiling, peak_memory_bytes
from athanor.train.compiled import compile_blocks
from athanor.train.config import Pretrain
from athanor.train.context_parallel import RingCausal, columns_of
from athanor.train.datasets import DATA, batches_of, open_dataset, refuse_changed_data, state_of
from athanor.train.depth import at_depth, described
from athanor.train.documents import document_lengths, documents_apart
from athanor.train.float8 import use_float8
from athanor.train.gathered import gathered
from athanor.train.gradients import Part, Pass, Share
from athanor.train.loader import Batches
from athanor.train.loss import cross_entropy_and_z
from athanor.train.model_folder import write_model_folder
from athanor.train.parallelize import parallelize
from athanor.train.precision import compute_dtype, training_device, use_threads
from athanor.train.repeats import with_decay
from athanor.train.samples import continuation
from athanor.train.trace import traced
from athanor.train.trainer import fit
from athanor.train.validation import validate


def run(config: Pretrain, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train the model that `config` describes; see the head of the file."""
    threads = use_threads(config.fit.threads)
    device = training_device()
    with parallel.joined(device, config.fit.parallel) as world:
        tokenizer = Tokenizer.load(inputs["tokenizer"])
        config, dial = at_depth(config, tokenizer.vocab_size)
        if config.batch_size % world.data_size:
            raise ValueError(
                f"batch_size {config.batch_size} is not a multiple of the {world.data_size} processes that share it"
            )
        validation = open_dataset(inputs["tokens"] / "validation", tokenizer)
        model = start_model(config, inputs, tokenizer)
        batches = batches_of(config, inputs, tokenizer, model.config.context_length)
        if world.leads:
            refuse_changed_data(config, batches, out)
        epochs = batches.epochs(config.fit.num_steps)
        if dial:
            for line in described(config, dial, tokenizer.vocab_size, epochs.get("train", 0.0)):
                console.say(line)
        fit_settings, decays = config.fit, dict[str, float]()
        if config.decay_by_epochs:
            fit_settings, decays = with_decay(config.fit, batches.mean_epochs(config.fit.num_steps))
        if decays:
            console.say(f"  weight decay for text that is read again: {_listed(decays)}")
        source_epochs = _source_epochs(inputs["tokens"], epochs.get("train", 0.0))
        model.compute_dtype = compute_dtype(config.fit.precision, device, scaled=True)
        if config.fit.precision == "float8":
            use_float8(model, device)
        if config.fit.recompute:
            recompute_blocks(model)
        compiled = _compiles(config, model, device, world)
        if compiled:
            compile_blocks(model)
        spread = parallelize(model, world, device)
        peak = matrix_ceiling(device, model.compute_dtype) * world.size
        flops_of_token = flops_per_token(model.config)
        samples = out / WORK / "samples"

        def after_step(steps_done: int) -> dict[str, float]:
            numbers = {}
            if steps_done % config.sample_steps == 0:
                _write_samples(model, tokenizer, config, samples, steps_done, world)
            if steps_done % config.validation_steps == 0 and steps_done < config.fit.num_steps:
                found = validate(model, validation, config.validation_tokens, world)
                numbers["validation_loss"] = found.loss
                numbers["validation_bits_per_byte"] = found.bits_per_byte
            spread.release()
            return numbers

        started = time.monotonic()
        fitted = fit(
            model,
            _parts(model, batches, config, world, compiled),
            fit_settings,
            out,
            after_step=after_step,
            label="pretraining",
            spread=spread,
            mfu_per_token=flops_of_token / peak,
        )
        training_seconds = time.monotonic() - started
        final = validate(model, validation, world=world)
        spread.release()
        last = None
        if fitted.average is not None:
            fitted.average.exchange()
            last = validate(model, validation, world=world)
            spread.release()
            fitted.average.exchange()
        _write_samples(model, tokenizer, config, samples, fitted.num_steps, world)
        spread.release()
        whole = gathered(spread)
        if world.leads:
            write_jsonl(out / "samples.jsonl", _collected(samples))
            write_json(out / DATA, state_of(config, batches, fitted.num_steps))
            if fitted.spikes:
                write_jsonl(out / "spikes.jsonl", traced(fitted.spikes, batches.rows))
            write_model_folder(whole, out, inputs["tokenizer"])
            console.say(f"  validation: {final.bits_per_byte:.3f} bits per byte, perplexity {final.perplexity:.1f}")
    return {
        **({"dial": {choice.name: choice.value for choice in dial}} if dial else {}),
        **({"decay_by_epochs": decays} if decays else {}),
        "parameters": count_parameters(model.config, "all"),
        "parameters_non_embedding": count_parameters(model.config, "non_embedding"),
        "parameters_matmul": count_parameters(model.config, "matmul"),
        "steps": fitted.num_steps,
        "tokens": fitted.num_tokens,
        "epochs": round(epochs.get("train", 0.0), 3),
        "dataset_epochs": {name: round(count, 3) for name, count in epochs.items()},
        "rows_drawn": batches.drawn(fitted.num_steps),
        "source_epochs": source_epochs,
        "flops": flops_of_token * fitted.num_tokens,
        "flops_convention": "with_attention",
        "mfu": float(f"{flops_of_token * fitted.tokens_per_second / peak:.3g}"),
        "matrix_ceiling_flops_per_second": round(peak),
        "peak_memory_bytes": peak_memory_bytes(device),
        "tokens_per_second": round(fitted.tokens_per_second, 1),
        "training_seconds": round(training_seconds, 1),
        "loss": fitted.loss,
        "skipped_steps": len(fitted.skipped),
        "loss_spikes": len(fitted.spikes),
        "weights": "last" if config.fit.ema is None else f"average with decay {config.fit.ema:g}",
        **({} if last is None else {"bits_per_byte_of_last_weights": last.bits_per_byte}),
        "validation_loss": final.loss,
        "perplexity": final.perplexity,
        "bits_per_byte": final.bits_per_byte,
        "validation_tokens": final.num_tokens,
        "compiled": compiled,
        "precision": str(model.compute_dtype).removeprefix("torch."),
        "device": str(device),
        "threads": threads,
        "processes": world.size,
    }


def _listed(decays: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {decay:.2g}" for name, decay in decays.items())


def _compiles(config: Pretrain, model: LanguageModel, device: torch.device, world: parallel.World) -> bool:
    """Whether to compile: as the config says, else dense Transformers on a GPU; never blocks that talk to others."""
    if not isinstance(model, Transformer) or config.fit.compile is False:
        return False
    alone = world.layout.tensor * world.layout.context * world.layout.expert == 1
    if config.fit.compile is None:
        return alone and device.type == "cuda" and model.config.experts is None
    if not alone:
        console.warn("compile is for blocks that compute alone: left off under tensor, context and expert")
    return alone


def _source_epochs(tokens: Path, train_epochs: float) -> dict[str, float]:
    """Passes over each source of the mixture in `train_epochs` over the training set; none without a mixture."""
    mixture = read_mixture(tokens)
    if mixture is None:
        return {}
    passes = {name: source.epochs * train_epochs for name, source in mixture.sources.items() if source.epochs}
    most = max(passes, key=lambda name: passes[name], default="")
    repeated = sum(count > mixture.warn_epochs for count in passes.values())
    if repeated:
        console.warn(
            f"{repeated} of {len(passes)} sources of the mixture are passed over more than {mixture.warn_epochs:g} "
            f"times ({most!r} {passes[most]:.1f} times); beyond that repeated text is worth ever less (Muennighoff "
            "et al. 2023)"
        )
    return {name: round(count, 3) for name, count in passes.items()}


def _parts(
    model: LanguageModel, batches: Batches, config: Pretrain, world: parallel.World, compiled: bool
) -> Callable[[int], Iterator[Part]]:
    """The function from a step to this process's micro-batches of it."""
    device = next(model.parameters()).device

    columns = None
    if world.context_group is not None:
        if config.mask_documents:
            raise ValueError("context parallelism does not keep documents apart: set mask_documents to false")
        columns = columns_of(world.context_group, model.config.context_length).to(device)

    def score(hidden: Tensor, targets: Tensor, weight: Tensor) -> Share:
        loss, z = cross_entropy_and_z(
            hidden.flatten(0, 1),
            model.head_weight,
            targets,
            weight,
            config.z_loss,
            compiled=compiled,
            vocabulary=model.vocabulary,
        )
        if not config.z_loss:
            return Share(loss, num_tokens=weight.numel())
        numbers = {"cross_entropy": float(loss.detach() - config.z_loss * z), "z_loss": float(z)}
        return Share(loss, num_tokens=weight.numel(), numbers=numbers)

    def routed(tokens: Tensor, layout: Layout, targets: Tensor, weight: Tensor, rows_share: float) -> Share:
        routing = Routing.of(model.config)
        assert routing is not None
        share = score(model(tokens, layout, routing), targets, weight)
        numbers = {"cross_entropy": float(share.loss.detach()), **share.numbers, **routing.numbers(rows_share)}
        return Share(share.loss + rows_share * routing.loss(), share.num_tokens, numbers)

    def parts(step: int) -> Iterator[Part]:
        ours = batches.batch(step).part(slice(world.data_rank, None, world.data_size))
        for first in range(0, len(ours.rows), config.micro_batch_size):
            batch = ours.part(slice(first, first + config.micro_batch_size))
            rows, weight = (torch.from_numpy(part).to(device) for part in (batch.rows, batch.weights))
            tokens, targets = rows[:, :-1], rows[:, 1:]
            layout: Layout
            if config.mask_documents:
                layout = documents_apart(document_lengths(batch.ends, tokens.shape[1]), device)
                tokens = tokens.reshape(1, -1)
            elif columns is not None and world.context_group is not None:
                tokens, targets, weight = (part[:, columns] for part in (tokens, targets, weight))
                layout = RingCausal(world.context_group, columns)
            else:
                layout = causal(len(tokens), tokens.shape[1], device)
            targets, weight = targets.flatten(), weight.flatten()
            if Routing.of(model.config) is not None:
                yield partial(routed, tokens, layout, targets, weight, len(rows) / batches.batch_size)
            else:
                yield Pass(model, tokens, layout, partial(score, targets=targets, weight=weight))

    return parts


def _write_samples(
    model: LanguageModel, tokenizer: Tokenizer, config: Pretrain, folder: Path, step: int, world: parallel.World
) -> None:
    """Continue every prompt and keep the result in `folder` under the number of the step."""
    if not (world.leads or world.layout.splits_model):
        return
    rows = []
    for number, prompt in enumerate(config.sample_prompts):
        tokens = continuation(
            model,
            [tokenizer.bos_id, *tokenizer.encode(prompt)],
            config.sample_tokens,
            config.sample_temperature,
            (tokenizer.eos_id,),
            seed=config.seed + number,
            world=world if world.layout.splits_model else None,
        )
        rows.append({"step": step, "prompt": prompt, "completion": tokenizer.decode(tokens)})
    if world.leads:
        write_jsonl(folder / f"{step:08d}.jsonl", rows)


def _collected(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from read_jsonl(path)

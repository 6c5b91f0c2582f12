"""Train tiny-llada: a masked diffusion language model in LLaDA's layout on the King James Version, with its own tokenizer.

The published objective: a share t of the tokens, uniform in (0, 1], is masked; cross-entropy at masked positions divided by t.
Windows begin at the start of a verse, so that a prompt that begins one is what the model knows.  Resumable.

  python Tools/train_llada.py --minutes 40
"""

import torch
from safetensors.torch import save_file

from bible_text import END, MASK, splits, train_tokenizer
from checkpoints import write_atomically, write_json
from llada_model import LLaDA, masked_loss
from pathlib import Path
from muon import with_adam
from training import Training, arguments, begin

VOCABULARY = 1024
CONFIG = {
    "model_type": "llada", "architectures": ["LLaDAModelLM"], "d_model": 128, "n_layers": 6, "n_heads": 4, "n_kv_heads": 4,
    "mlp_hidden_size": 384, "vocab_size": VOCABULARY, "embedding_size": VOCABULARY, "max_sequence_length": 256,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "weight_tying": True, "include_bias": False, "include_qkv_bias": False,
    "activation_type": "silu", "block_type": "llama", "layer_norm_type": "rms",
    "eos_token_id": VOCABULARY - 2, "pad_token_id": VOCABULARY - 2, "mask_token_id": VOCABULARY - 1,
}


def token_stream(tokenizer, texts):
    """All tokens, chapters ended by END, and where verses begin."""
    end, stream, starts = tokenizer.token_to_id(END), [], []
    for text in texts:
        for verse in tokenizer.encode_batch([line + "\n" for line in text.split("\n")]):
            starts.append(len(stream))
            stream += verse.ids
        stream.append(end)
    return torch.tensor(stream), torch.tensor(starts)


def windows(stream, starts, length):
    """All windows [n, length] that begin with a verse and fit."""
    fitting = starts[starts + length <= len(stream)]
    return stream[fitting[:, None] + torch.arange(length)]


def write(folder, state):
    """bf16, as the published checkpoints are."""
    half = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in state.items()}
    write_atomically(Path(folder) / "model.safetensors", lambda path: save_file(half, path, metadata={"format": "pt"}))
    write_json(Path(folder) / "config.json", CONFIG)


def main():
    p = arguments(__doc__, "Models/tiny-llada", steps=20000, batch=16, lr=2e-3)
    p.add_argument("--length", type=int, default=128, help="tokens of a window")
    p.add_argument("--ema", type=float, default=0.998)
    options = p.parse_args()
    begin(options)
    texts, _ = splits()
    tokenizer = train_tokenizer(texts, VOCABULARY, Path(options.out) / "tokenizer.json")
    assert (tokenizer.token_to_id(END), tokenizer.token_to_id(MASK)) == (CONFIG["eos_token_id"], CONFIG["mask_token_id"])
    stream, starts = token_stream(tokenizer, texts)
    data = windows(stream, starts, options.length)
    print(f"{len(stream):,} tokens, {len(data):,} windows", flush=True)
    network = LLaDA(CONFIG)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    training = Training(options, network, with_adam(network, network.model.transformer.blocks, options.lr, 0.1), clip=1.0,
                        warmup=100, floor=0.02, ema=options.ema)

    def loss_of_step(generator):
        tokens = data[torch.randint(len(data), (options.batch,), generator=generator)]
        # One share from each of `batch` equal slices: still uniform, less variance.
        share = (torch.arange(options.batch) + torch.rand(options.batch, generator=generator)) / options.batch
        # At first few masks: with nearly everything masked there is little but frequencies to learn, and a small network stays there.
        share = (share * min(1.0, 0.3 + 2 * training.progress)).clamp(min=1e-2)
        bound, masked = masked_loss(network, tokens, share, torch.rand(tokens.shape, generator=generator), CONFIG["mask_token_id"])
        return bound, {"bound": bound.detach(), "masked": masked.detach()}

    training.run(loss_of_step, lambda weights: write(options.out, weights))


if __name__ == "__main__":
    main()

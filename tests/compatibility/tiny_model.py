"""Write a llama of random weights as a GGUF file: a few hundred kilobytes that any server loads.

It knows bytes, the number 10, and the marks of a chat. It has learnt nothing, but it says printable
characters, and numbers more often than they would come by chance.

Needs the packages gguf and numpy: python tiny_model.py model.gguf
"""

import sys

import gguf
import numpy as np

DIM, HEADS, LAYERS, HIDDEN, CONTEXT = 64, 4, 2, 128, 8192
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def byte_characters() -> dict[int, str]:
    """Return the character by which the vocabulary of GPT-2 names each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + i) for i, b in enumerate(others)}


def vocabulary() -> list[str]:
    characters = byte_characters()
    return [*(characters[byte] for byte in range(256)), "10", *SPECIAL]


def liking() -> np.ndarray:
    """Return how much more than by chance each token is said."""
    found = np.full(256 + 1 + len(SPECIAL), -8.0, np.float32)
    found[ord("a") : ord("z") + 1] = 1.0
    found[ord(" ")] = 2.0
    found[ord("0") : ord("9") + 1] = 3.0
    found[256] = 3.0  # 10
    found[vocabulary().index("<|im_end|>")] = 3.4  # so that what it says has an end
    return found


def write(path: str) -> None:
    random = np.random.default_rng(0)
    tokens = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIM // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control if token in SPECIAL else normal for token in tokens])
    writer.add_token_merges(["1 0"])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)

    def add(name: str, *shape: int) -> None:
        weights = random.normal(0, 0.3 / np.sqrt(shape[-1]), shape).astype(np.float32)
        writer.add_tensor(name, weights)

    embedding = random.normal(0, 1, (len(tokens), DIM)).astype(np.float32)
    embedding[:, 0] = 8.0  # the same for all, so that the first column of `output` is a bias
    output = random.normal(0, 0.2, (len(tokens), DIM)).astype(np.float32)
    scale = 8.0 / np.sqrt((64.0 + DIM - 1) / DIM)
    output[:, 0] = liking() / scale
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(DIM, np.float32))
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", DIM, DIM)
        add(f"blk.{layer}.ffn_gate.weight", HIDDEN, DIM)
        add(f"blk.{layer}.ffn_up.weight", HIDDEN, DIM)
        add(f"blk.{layer}.ffn_down.weight", DIM, HIDDEN)
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(DIM, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(sys.argv[1])

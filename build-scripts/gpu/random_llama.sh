#!/usr/bin/env bash
# Writes a Llama with random weights in bfloat16, without Python: bash, coreutils and sed.
#
#   build-scripts/gpu/random_llama.sh DIRECTORY TOKENIZER_OF [SHAPE]
#
# TOKENIZER_OF: a model whose tokenizer is copied; its tokens are some of the vocabulary. SHAPE: hidden, layers, query heads, key
# heads, MLP, vocabulary; "4096 32 32 8 14336 128256" (8B, 16 GB) where nothing is said. The weights are a stretch of noise over and over, of a length
# that no row has: no two rows of a matrix are the same.
set -euo pipefail

out=$1 tokenizer_of=$2
read -r hidden layers heads key_heads mlp vocabulary <<< "${3:-4096 32 32 8 14336 128256}"
key_columns=$((hidden / heads * key_heads))
mkdir -p "$out"
cp "$tokenizer_of"/tokenizer.json "$tokenizer_of"/tokenizer_config.json "$out/"
cat > "$out/config.json" << JSON
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "silu", "hidden_size": $hidden,
 "intermediate_size": $mlp, "num_hidden_layers": $layers, "num_attention_heads": $heads, "num_key_value_heads": $key_heads,
 "vocab_size": $vocabulary, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
 "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2}
JSON

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# bfloat16, the low byte first: of noise the high one says ±2^-7 to ±2^-5, and 1.0 is 3f80.
noise() { od -An -v -tx1 -w1 -N 32767 /dev/urandom | sed 's/^ \(.[02468ace]\)$/\\x\1\\x3c/; s/^ \(..\)$/\\x\1\\xbc/' | tr -d '\n'; }
repeated() { for ((i = 0; i < $2; ++i)); do cat "$1"; done; }
# shellcheck disable=SC2059 # the format is the bytes
printf "$(noise)" > "$work/stretch"
repeated "$work/stretch" 256 > "$work/noise"
for ((i = 0; i < hidden; ++i)); do printf '\x80\x3f'; done > "$work/ones"
size=$(stat -c %s "$work/noise")

header= at=0 names=() bytes=()
tensor() { # name, rows, columns; a vector has no columns
  local count=$(($2 * ${3:-1}))
  header+=${header:+,}"\"$1\":{\"dtype\":\"BF16\",\"shape\":[$2${3:+,$3}],\"data_offsets\":[$at,$((at + 2 * count))]}"
  at=$((at + 2 * count))
  names+=("$1")
  bytes+=($((2 * count)))
}
tensor model.embed_tokens.weight "$vocabulary" "$hidden"
for ((layer = 0; layer < layers; ++layer)); do
  name=model.layers.$layer
  tensor "$name.input_layernorm.weight" "$hidden"
  tensor "$name.self_attn.q_proj.weight" "$hidden" "$hidden"
  tensor "$name.self_attn.k_proj.weight" "$key_columns" "$hidden"
  tensor "$name.self_attn.v_proj.weight" "$key_columns" "$hidden"
  tensor "$name.self_attn.o_proj.weight" "$hidden" "$hidden"
  tensor "$name.post_attention_layernorm.weight" "$hidden"
  tensor "$name.mlp.gate_proj.weight" "$mlp" "$hidden"
  tensor "$name.mlp.up_proj.weight" "$mlp" "$hidden"
  tensor "$name.mlp.down_proj.weight" "$hidden" "$mlp"
done
tensor model.norm.weight "$hidden"
tensor lm_head.weight "$vocabulary" "$hidden"

header="{$header}"
while [ $((${#header} % 8)) != 0 ]; do header+=' '; done
{
  length=$(printf '%016x' ${#header})
  for ((i = 14; i >= 0; i -= 2)); do printf '%b' "\\x${length:i:2}"; done
  printf '%s' "$header"
  for i in "${!names[@]}"; do
    case ${names[i]} in
      *norm.weight) cat "$work/ones" ;;
      *) for ((left = bytes[i]; left > 0; left -= size)); do head -c "$left" "$work/noise"; done ;;
    esac
  done
} > "$out/model.safetensors.tmp"
mv "$out/model.safetensors.tmp" "$out/model.safetensors"

#!/bin/sh
# REINFORCE++ with OpenRLHF, paid by our rule reward: the run rl-coder-instruct-rule-paper, in options of 0.11.2.
#
#   acedata export BUILD --out acecode-dataset --form openrlhf
#   DATA=acecode-dataset/openrlhf/hard/train.jsonl sh reinforce-pp-rule.sh [more options of OpenRLHF's]
#
# reward.py beside this file is the reward. A Ray cluster must be running: ray start --head.
set -eu
: "${DATA:=acecode-dataset/openrlhf/hard/train.jsonl}" "${MODEL:=Qwen/Qwen2.5-Coder-7B-Instruct}" "${GPUS:=8}"
: "${REWARD:=$(cd "$(dirname "$0")" && pwd)/reward.py}" "${OUT:=runs/openrlhf-reinforce-pp-rule}"

exec python3 -m openrlhf.cli.train_ppo_ray \
    --algo.advantage.estimator reinforce \
    --algo.advantage.gamma 1.0 \
    --algo.advantage.is_correction_level off \
    --algo.kl.init_coef 0.01 \
    --algo.kl.estimator k1 \
    --actor.model_name_or_path "$MODEL" \
    --actor.num_nodes 1 \
    --actor.num_gpus_per_node "$GPUS" \
    --actor.eps_clip 0.2 \
    --actor.loss_agg_mode seq-mean-token-mean \
    --actor.adam.lr 5e-7 \
    --actor.lr_warmup_ratio 0.03 \
    --actor.gradient_checkpointing_enable \
    --ref.num_nodes 1 \
    --ref.num_gpus_per_node "$GPUS" \
    --train.colocate_all \
    --train.num_episodes 1 \
    --train.max_epochs 1 \
    --train.batch_size 128 \
    --train.micro_batch_size 8 \
    --rollout.batch_size 256 \
    --rollout.n_samples_per_prompt 8 \
    --rollout.micro_batch_size 8 \
    --rollout.max_new_tokens 2048 \
    --rollout.temperature 1.0 \
    --data.max_len 4096 \
    --data.prompt_dataset "$DATA" \
    --data.input_key prompt \
    --data.label_key label \
    --data.apply_chat_template \
    --reward.remote_url "$REWARD" \
    --reward.clip_range -10 10 \
    --vllm.num_engines "$GPUS" \
    --vllm.tensor_parallel_size 1 \
    --vllm.gpu_memory_utilization 0.5 \
    --vllm.enable_sleep \
    --ds.enable_sleep \
    --ds.zero_stage 3 \
    --ds.param_dtype bf16 \
    --ds.adam_offload \
    --ds.packing_samples \
    --ckpt.output_dir "$OUT/final" \
    --ckpt.path "$OUT/ckpt" \
    --ckpt.save_steps 10 \
    "$@"

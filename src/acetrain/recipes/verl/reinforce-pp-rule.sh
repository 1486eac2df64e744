#!/bin/sh
# REINFORCE++ with verl, paid by our rule reward: the run rl-coder-instruct-rule-paper as near as verl 0.9.1 can come.
# Not the same: verl also clips the ratio of negative advantages (clip_ratio_c), and counts unknown rewards as 0.0.
#
#   acedata export BUILD --out acecode-dataset --form verl
#   DATA=acecode-dataset/verl/hard sh reinforce-pp-rule.sh [more options of verl's]
#
# ACETRAIN_REWARD is the path of acetrain/verl.py: python -c 'import acetrain.verl; print(acetrain.verl.__file__)'
set -eu
: "${DATA:=acecode-dataset/verl/hard}" "${MODEL:=Qwen/Qwen2.5-Coder-7B-Instruct}" "${GPUS:=8}" "${NODES:=1}"
: "${ACETRAIN_REWARD:=$(python3 -c 'import acetrain.verl; print(acetrain.verl.__file__)')}"

exec python3 -m verl.trainer.main_ppo \
    algorithm.adv_estimator=reinforce_plus_plus \
    algorithm.gamma=1.0 \
    algorithm.use_kl_in_reward=True \
    algorithm.kl_penalty=kl \
    algorithm.kl_ctrl.type=fixed \
    algorithm.kl_ctrl.kl_coef=0.01 \
    data.train_files="$DATA/train.parquet" \
    data.val_files="$DATA/train.parquet" \
    data.train_batch_size=256 \
    data.max_prompt_length=2048 \
    data.max_response_length=2048 \
    data.filter_overlong_prompts=True \
    actor_rollout_ref.model.path="$MODEL" \
    actor_rollout_ref.model.enable_gradient_checkpointing=True \
    actor_rollout_ref.actor.optim.lr=5e-7 \
    actor_rollout_ref.actor.optim.lr_warmup_steps_ratio=0.03 \
    actor_rollout_ref.actor.optim.lr_scheduler_type=cosine \
    actor_rollout_ref.actor.optim.min_lr_ratio=0.1 \
    actor_rollout_ref.actor.optim.weight_decay=0.0 \
    actor_rollout_ref.actor.ppo_mini_batch_size=16 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.actor.ppo_epochs=1 \
    actor_rollout_ref.actor.clip_ratio=0.2 \
    actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean \
    actor_rollout_ref.actor.use_kl_loss=False \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8 \
    reward.custom_reward_function.path="$ACETRAIN_REWARD" \
    reward.custom_reward_function.name=compute_score \
    +reward.custom_reward_function.reward_kwargs.unknown=zero \
    +reward.custom_reward_function.reward_kwargs.mode=binary \
    trainer.total_epochs=1 \
    trainer.n_gpus_per_node="$GPUS" \
    trainer.nnodes="$NODES" \
    trainer.val_before_train=False \
    trainer.test_freq=-1 \
    trainer.save_freq=10 \
    trainer.logger='["console"]' \
    trainer.project_name=acetrain \
    trainer.experiment_name=reinforce-pp-rule \
    "$@"

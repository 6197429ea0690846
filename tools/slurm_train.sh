#!/usr/bin/env bash
# Train on a cluster: tools/slurm_train.sh PARTITION JOB CONFIG WORK_DIR [options of `ltcls train`]
#
#   GPUS           in all (8)
#   GPUS_PER_NODE  on each machine (8, or GPUS if that is fewer)
#   CPUS_PER_TASK  processors a GPU (5)
#   PORT           for the processes to meet (29500)
#   SRUN_ARGS      more arguments for srun, e.g. '--time=24:00:00 --qos=low'
# One torchrun a machine. The scheduler's SIGTERM leaves a checkpoint; the same command with
# --resume goes on from it.
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo "usage: tools/slurm_train.sh PARTITION JOB CONFIG WORK_DIR [options of 'ltcls train']" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
work_dir=$4
shift 4
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
if ((gpus % per_node)); then
    echo "GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
    exit 2
fi
export NNODES=$((gpus / per_node)) PORT=${PORT:-29500}
# Expanded by the shell of each machine, which knows its own number and who is in the job.
# shellcheck disable=SC2016
on_each='export NODE_RANK=$SLURM_NODEID
first=${SLURM_STEP_NODELIST:-$SLURM_JOB_NODELIST}
MASTER_ADDR=$(scontrol show hostnames "$first" | head -n 1)
export MASTER_ADDR
exec "$@"'
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" --nodes="$NNODES" --ntasks="$NNODES" \
    --ntasks-per-node=1 --gres=gpu:"$per_node" --cpus-per-task=$((per_node * ${CPUS_PER_TASK:-5})) \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    bash -c "$on_each" slurm_train "$(dirname "$0")/dist_train.sh" "$config" "$per_node" \
    --work-dir "$work_dir" "$@"
